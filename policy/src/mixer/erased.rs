//! Visiting and mapping a module whose type is not known.
//!
//! Burn's visitors and mappers are generic in the number of axes of a parameter, so a trait object cannot take them. Here a parameter is
//! handed over as [`Any`], and the other side of the call finds the number of axes again.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};
use std::any::Any;

/// Why a parameter cannot be visited.
const UNSUPPORTED: &str = "parameters of registered mixers are float tensors of 1 to 4 axes";

/// [`ModuleVisitor`] without generic methods.
pub(super) trait DynVisitor<B: Backend> {
    fn enter(&mut self, name: &str, container_type: &str);
    fn exit(&mut self, name: &str, container_type: &str);
    /// Visits a `Param<Tensor<B, D>>`.
    fn float(&mut self, param: &dyn Any);
}

impl<B: Backend, V: ModuleVisitor<B>> DynVisitor<B> for V {
    fn enter(&mut self, name: &str, container_type: &str) {
        self.enter_module(name, container_type);
    }

    fn exit(&mut self, name: &str, container_type: &str) {
        self.exit_module(name, container_type);
    }

    fn float(&mut self, param: &dyn Any) {
        fn is<B: Backend, V: ModuleVisitor<B>, const D: usize>(visitor: &mut V, param: &dyn Any) -> bool {
            param.downcast_ref::<Param<Tensor<B, D>>>().map(|param| visitor.visit_float(param)).is_some()
        }
        let is_known =
            is::<B, V, 1>(self, param) || is::<B, V, 2>(self, param) || is::<B, V, 3>(self, param) || is::<B, V, 4>(self, param);
        assert!(is_known, "{UNSUPPORTED}");
    }
}

/// [`ModuleMapper`] without generic methods.
pub(super) trait DynMapper<B: Backend> {
    fn enter(&mut self, name: &str, container_type: &str);
    fn exit(&mut self, name: &str, container_type: &str);
    /// Maps a `Param<Tensor<B, D>>` to another.
    fn float(&mut self, param: Box<dyn Any>) -> Box<dyn Any>;
}

impl<B: Backend, M: ModuleMapper<B>> DynMapper<B> for M {
    fn enter(&mut self, name: &str, container_type: &str) {
        self.enter_module(name, container_type);
    }

    fn exit(&mut self, name: &str, container_type: &str) {
        self.exit_module(name, container_type);
    }

    fn float(&mut self, param: Box<dyn Any>) -> Box<dyn Any> {
        fn of<B: Backend, M: ModuleMapper<B>, const D: usize>(
            mapper: &mut M,
            param: Box<dyn Any>,
        ) -> Result<Box<dyn Any>, Box<dyn Any>> {
            Ok(Box::new(mapper.map_float(*param.downcast::<Param<Tensor<B, D>>>()?)))
        }
        let mapped = of::<B, M, 1>(self, param).or_else(|param| of::<B, M, 2>(self, param));
        let mapped = mapped.or_else(|param| of::<B, M, 3>(self, param)).or_else(|param| of::<B, M, 4>(self, param));
        mapped.unwrap_or_else(|_| panic!("{UNSUPPORTED}"))
    }
}

/// A visitor or mapper of unknown type as Burn wants it.
pub(super) struct Erased<'a, T: ?Sized>(pub &'a mut T);

impl<B: Backend> ModuleVisitor<B> for Erased<'_, dyn DynVisitor<B> + '_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.0.exit(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.float(param);
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<B, D, Int>>) {
        panic!("{UNSUPPORTED}");
    }

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<B, D, Bool>>) {
        panic!("{UNSUPPORTED}");
    }
}

impl<B: Backend> ModuleMapper<B> for Erased<'_, dyn DynMapper<B> + '_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.0.exit(name, container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        *self.0.float(Box::new(param)).downcast().expect("a mapper keeps the number of axes")
    }
}
