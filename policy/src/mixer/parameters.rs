//! The parameters of a module as a list, in the order of a visit: on one axis each, or on another backend.

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::{any::Any, marker::PhantomData};

/// Why a list of parameters does not fit a mixer: it was made from other sizes or options.
const OTHER_PARAMETERS: &str = "a mixer has as many parameters as it had, of the same shapes";

/// All on one axis.
pub(super) struct Flatten<B: Backend>(pub Vec<Param<Tensor<B, 1>>>);

impl<B: Backend> ModuleVisitor<B> for Flatten<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (id, tensor, _) = param.transform_for_save().consume();
        let length = tensor.shape().num_elements();
        self.0.push(Param::initialized(id, tensor.reshape([length])));
    }
}

/// What [`Flatten`] made, in place of a module's parameters.
pub(super) struct Unflatten<B: Backend>(pub std::vec::IntoIter<Param<Tensor<B, 1>>>);

impl<B: Backend> ModuleMapper<B> for Unflatten<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, _) = self.0.next().expect(OTHER_PARAMETERS).consume();
        let shape = param.lazy_shape();
        param.transform_for_load(tensor.reshape(shape), id)
    }
}

/// Parameters on the inner backend.
pub(super) struct Inner(pub Vec<Box<dyn Any>>);

impl<B: AutodiffBackend> ModuleVisitor<B> for Inner {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push(Box::new(param.valid()));
    }
}

/// Parameters of the inner backend on the one that differentiates.
pub(super) struct Outer<B>(pub Vec<Box<dyn Any>>, pub PhantomData<B>);

impl<B: AutodiffBackend> ModuleVisitor<B::InnerBackend> for Outer<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B::InnerBackend, D>>) {
        self.0.push(Box::new(Param::<Tensor<B, D>>::from_inner(param.clone())));
    }
}

/// Parameters of the same shapes, in place of a module's.
pub(super) struct Replace(pub std::vec::IntoIter<Box<dyn Any>>);

impl<B: Backend> ModuleMapper<B> for Replace {
    fn map_float<const D: usize>(&mut self, _param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        *self.0.next().and_then(|param| param.downcast().ok()).expect(OTHER_PARAMETERS)
    }
}
