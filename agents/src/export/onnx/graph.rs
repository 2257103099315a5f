//! A graph under construction: operators, constants, inputs and outputs. Values are called by their names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use prost::Message;

use super::proto::{
    Attribute, DOUBLE, Dimension, Entry, FLOAT, GraphProto, INT64, Model, Node, OperatorSet, Shape, Size, TensorProto,
    TensorType, Type, ValueInfo,
};

/// The name of a value in the graph.
pub(super) type Value = String;

/// Weights of a policy by name, each with its shape.
pub(super) type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The operators' version.
const OPSET: i64 = 17;
/// The file format's version that came with them.
const IR_VERSION: i64 = 8;
/// The name of the axis of rows, whose size is open.
const BATCH: &str = "batch";

/// The graph so far.
pub(super) struct Graph {
    weights: Weights,
    proto: GraphProto,
    /// Values that were given names so far.
    named: usize,
}

impl Graph {
    pub(super) fn new(name: &str, weights: Weights) -> Self {
        Self { weights, proto: GraphProto { name: name.into(), ..GraphProto::default() }, named: 0 }
    }

    /// The file's bytes.
    pub(super) fn finish(self, doc_string: String, metadata: Vec<(&str, String)>) -> Vec<u8> {
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "aaren".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string,
            graph: Some(self.proto),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
            metadata_props: metadata.into_iter().map(|(key, value)| Entry { key: key.into(), value }).collect(),
        };
        model.encode_to_vec()
    }

    /// An operator with one output.
    pub(super) fn op(&mut self, op: &str, inputs: &[&str]) -> Value {
        self.op_with(op, inputs, Vec::new())
    }

    /// The same with attributes.
    pub(super) fn op_with(&mut self, op: &str, inputs: &[&str], attribute: Vec<Attribute>) -> Value {
        self.named += 1;
        let output = format!("{}_{}", op.to_lowercase(), self.named);
        self.node(op, inputs, vec![output.clone()], attribute);
        output
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: Vec<String>, attribute: Vec<Attribute>) {
        let input = inputs.iter().map(|&name| name.to_owned()).collect();
        self.proto.node.push(Node { input, name: output[0].clone(), output, op_type: op.into(), attribute });
    }

    fn constant(&mut self, data_type: i32, dims: &[usize], raw_data: Vec<u8>) -> Value {
        self.named += 1;
        let name = format!("constant_{}", self.named);
        let dims = dims.iter().map(|&size| size as i64).collect();
        self.proto.initializer.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        name
    }

    pub(super) fn floats(&mut self, dims: &[usize], numbers: &[f32]) -> Value {
        self.constant(FLOAT, dims, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    pub(super) fn doubles(&mut self, dims: &[usize], numbers: &[f64]) -> Value {
        self.constant(DOUBLE, dims, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    pub(super) fn ints(&mut self, dims: &[usize], numbers: &[i64]) -> Value {
        self.constant(INT64, dims, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    /// A single number that every element of a tensor meets.
    pub(super) fn float(&mut self, number: f32) -> Value {
        self.floats(&[], &[number])
    }

    pub(super) fn double(&mut self, number: f64) -> Value {
        self.doubles(&[], &[number])
    }

    pub(super) fn int(&mut self, number: i64) -> Value {
        self.ints(&[], &[number])
    }

    /// Numbers of a weight.
    ///
    /// # Errors
    /// If the policy has none of the name.
    pub(super) fn weight(&self, name: &str) -> Result<&(Vec<usize>, Vec<f32>)> {
        self.weights.get(name).with_context(|| format!("the policy has no weight {name}"))
    }

    pub(super) fn has_weight(&self, name: &str) -> bool {
        self.weights.contains_key(name)
    }

    /// A weight as a constant, which has its name.
    pub(super) fn weight_constant(&mut self, name: &str) -> Result<Value> {
        let (shape, numbers) = self.weight(name)?.clone();
        if !self.proto.initializer.iter().any(|constant| constant.name == name) {
            let dims = shape.iter().map(|&size| size as i64).collect();
            let raw_data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            self.proto.initializer.push(TensorProto { dims, data_type: FLOAT, name: name.into(), raw_data });
        }
        Ok(name.into())
    }

    /// A dense layer of the policy.
    pub(super) fn dense(&mut self, layer: &str, x: &str) -> Result<Value> {
        let [weight, bias] = [self.weight_constant(&format!("{layer}.weight"))?, self.weight_constant(&format!("{layer}.bias"))?];
        let product = self.op("MatMul", &[x, &weight]);
        Ok(self.op("Add", &[&product, &bias]))
    }

    /// A layer normalization of the policy.
    pub(super) fn norm(&mut self, layer: &str, x: &str) -> Result<Value> {
        let [gain, bias] = [self.weight_constant(&format!("{layer}.gain"))?, self.weight_constant(&format!("{layer}.bias"))?];
        let epsilon = Attribute { name: "epsilon".into(), f: Some(1e-5), kind: 1, ..Attribute::default() };
        Ok(self.op_with("LayerNormalization", &[x, &gain, &bias], vec![int("axis", -1), epsilon]))
    }

    pub(super) fn reshape(&mut self, x: &str, shape: &[i64]) -> Value {
        let shape = self.ints(&[shape.len()], shape);
        self.op("Reshape", &[x, &shape])
    }

    pub(super) fn unsqueeze(&mut self, x: &str, axis: i64) -> Value {
        let axes = self.ints(&[1], &[axis]);
        self.op("Unsqueeze", &[x, &axes])
    }

    pub(super) fn cast(&mut self, x: &str, to: i32) -> Value {
        self.op_with("Cast", &[x], vec![int("to", to.into())])
    }

    pub(super) fn concat(&mut self, parts: &[&str], axis: i64) -> Value {
        self.op_with("Concat", parts, vec![int("axis", axis)])
    }

    pub(super) fn transpose(&mut self, x: &str, axes: &[i64]) -> Value {
        let axes = Attribute { name: "perm".into(), ints: axes.to_vec(), kind: 7, ..Attribute::default() };
        self.op_with("Transpose", &[x], vec![axes])
    }

    /// Part of an axis; `i64::MAX` reaches its end.
    pub(super) fn slice(&mut self, x: &str, axis: i64, start: i64, end: i64) -> Value {
        let [start, end, axis] = [start, end, axis].map(|number| self.ints(&[1], &[number]));
        self.op("Slice", &[x, &start, &end, &axis])
    }

    /// An input. `shape` is what follows the axis of rows.
    pub(super) fn input(&mut self, name: &str, elem_type: i32, shape: &[usize], doc: &str) -> Value {
        self.proto.input.push(value_info(name, elem_type, shape, doc));
        name.into()
    }

    /// Makes a value an output.
    pub(super) fn output(&mut self, value: &str, name: &str, elem_type: i32, shape: &[usize], doc: &str) {
        self.node("Identity", &[value], vec![name.into()], Vec::new());
        self.proto.output.push(value_info(name, elem_type, shape, doc));
    }
}

/// An attribute that is a whole number.
pub(super) fn int(name: &str, number: i64) -> Attribute {
    Attribute { name: name.into(), i: Some(number), kind: 2, ..Attribute::default() }
}

fn value_info(name: &str, elem_type: i32, shape: &[usize], doc: &str) -> ValueInfo {
    let sizes = shape.iter().map(|&size| Size::Value(size as i64));
    let dim = std::iter::once(Size::Name(BATCH.into())).chain(sizes).map(|size| Dimension { size: Some(size) }).collect();
    let tensor = TensorType { elem_type, shape: Some(Shape { dim }) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor: Some(tensor) }), doc_string: doc.into() }
}
