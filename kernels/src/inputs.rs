//! Declaring what an op reads: its float tensors once, from which follow the structs of inputs, of gradients and of the CPU's views, and
//! what every op does with them.

/// Declares the inputs of an op, float tensors and others that no gradient passes through; the gradients of the float tensors; and views
/// of them. A number is how many axes a tensor has.
macro_rules! op_inputs {
    (
        $(#[$inputs_meta:meta])*
        $inputs:ident { $($(#[$float_meta:meta])* $float:ident: $axes:literal,)* }
        others { $($(#[$other_meta:meta])* $other:ident: $other_type:ty,)* }
        $(#[$gradients_meta:meta])*
        gradients $gradients:ident
        views $views:ident
    ) => {
        $(#[$inputs_meta])*
        #[derive(Clone, Debug)]
        pub struct $inputs<B: burn::tensor::backend::Backend> {
            $($(#[$float_meta])* pub $float: burn::tensor::ops::FloatTensor<B>,)*
            $($(#[$other_meta])* pub $other: $other_type,)*
        }

        $(#[$gradients_meta])*
        #[derive(Clone, Debug)]
        pub struct $gradients<B: burn::tensor::backend::Backend> {
            $($(#[$float_meta])* pub $float: burn::tensor::ops::FloatTensor<B>,)*
        }

        /// The float tensors as typed views.
        pub(crate) struct $views<'a, R> {
            $(pub $float: crate::cpu::View<'a, R, $axes>,)*
        }

        impl<B: burn::tensor::backend::Backend> $inputs<B> {
            /// From tensors.
            pub(crate) fn new($($float: burn::tensor::Tensor<B, $axes>,)* $($other: $other_type,)*) -> Self {
                Self { $($float: crate::primitive::primitive($float),)* $($other,)* }
            }

            /// From float tensors in order, and the others.
            #[cfg(test)]
            #[allow(dead_code, reason = "not every op's tests have need of it")]
            pub(crate) fn from_floats(
                [$($float),*]: [burn::tensor::ops::FloatTensor<B>; [$(stringify!($float)),*].len()],
                $($other: $other_type,)*
            ) -> Self {
                Self { $($float,)* $($other,)* }
            }

            /// The float tensors, in order.
            pub(crate) fn floats(&self) -> [burn::tensor::ops::FloatTensor<B>; [$(stringify!($float)),*].len()] {
                [$(self.$float.clone()),*]
            }

            /// With what `map` makes of every float tensor in its place.
            pub(crate) fn map<C>(
                self,
                map: impl Fn(burn::tensor::ops::FloatTensor<B>) -> burn::tensor::ops::FloatTensor<C>,
            ) -> $inputs<C>
            where
                C: burn::tensor::backend::Backend<
                        BoolTensorPrimitive = B::BoolTensorPrimitive,
                        IntTensorPrimitive = B::IntTensorPrimitive,
                    >,
            {
                $inputs { $($float: map(self.$float),)* $($other: self.$other,)* }
            }

            /// The gradients that Burn derives for an op, given that of its output.
            pub(crate) fn derive(
                self,
                op: impl FnOnce($inputs<burn::backend::Autodiff<B>>) -> burn::tensor::ops::FloatTensor<burn::backend::Autodiff<B>>,
                upstream: burn::tensor::ops::FloatTensor<B>,
            ) -> $gradients<B> {
                let leaves = self.map(crate::autodiff::leaf::<B>);
                let gradients = crate::autodiff::backward::<B>(op(leaves.clone()), upstream);
                $gradients { $($float: crate::autodiff::arrived::<B>(&leaves.$float, &gradients),)* }
            }
        }

        impl<B: burn::tensor::backend::Backend> $gradients<B> {
            /// All of them, in order.
            pub(crate) fn floats(self) -> [burn::tensor::ops::FloatTensor<B>; [$(stringify!($float)),*].len()] {
                [$(self.$float),*]
            }
        }

        impl $inputs<burn_flex::Flex> {
            /// In a form that there are views of.
            pub(crate) fn viewable(self) -> Self {
                self.map(crate::cpu::viewable)
            }

            /// Views of float tensors that are viewable.
            pub(crate) fn views<R: crate::cpu::Real>(&self) -> $views<'_, R> {
                $views { $($float: crate::cpu::view(&self.$float),)* }
            }
        }
    };
}
pub(crate) use op_inputs;
