//! Tensors by name from a file: safetensors, or an archive of torch.

use super::pickle::{Id, Pickle, Value, kind};
use crate::error::PolicyError;
use rawzip::{CompressionMethod, ZipArchive};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    /// In row-major order; of a type that is no weight's only the name.
    pub(super) numbers: Result<Vec<f32>, String>,
}

/// What is in a file.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) path: PathBuf,
    pub(super) tensors: BTreeMap<String, Stored>,
    /// NumPy arrays beside the weights.
    pub(super) arrays: BTreeMap<String, Vec<f64>>,
}

/// Keys of dictionaries that hold the weights in a checkpoint of a training.
const WEIGHTS: [&str; 3] = ["model_state", "state_dict", "model_state_dict"];

impl Contents {
    /// Reads a file, by what is in it and not by its name.
    ///
    /// # Errors
    /// [`PolicyError::File`], or [`PolicyError::Weights`] with what is wrong and what to do.
    pub(super) fn read(path: &Path) -> Result<Self, PolicyError> {
        let bytes =
            fs::read(path).map_err(|source| PolicyError::File { path: path.into(), action: "read the weights", source })?;
        let read = if bytes.starts_with(b"PK\x03\x04") {
            torch(&bytes)
        } else if bytes.first() == Some(&0x80) {
            // Torch before 1.6 wrote pickles after one another.
            Err("a file of torch before 1.6; load it with torch and save it again, torch.save(model.state_dict(), FILE)".into())
        } else {
            safe_tensors(&bytes).map(|tensors| (tensors, BTreeMap::new()))
        };
        let (tensors, arrays) = read.map_err(|problem| PolicyError::Weights { path: path.into(), problem })?;
        Ok(Self { path: path.into(), tensors, arrays })
    }
}

fn safe_tensors(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let read = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("neither safetensors nor an archive of torch: {error}; expected .safetensors, .pt or .bin"))?;
    let tensors = read.iter().map(|(name, tensor)| {
        let numbers = match tensor.dtype() {
            Dtype::F32 => Ok(singles(tensor.data())),
            Dtype::F64 => Ok(doubles(tensor.data()).into_iter().map(|number| number as f32).collect()),
            other => Err(format!("{other:?}")),
        };
        (name.to_owned(), Stored { shape: tensor.shape().to_vec(), numbers })
    });
    Ok(tensors.collect())
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes"))).collect()
}

type Found = (BTreeMap<String, Stored>, BTreeMap<String, Vec<f64>>);

/// An archive of `torch.save`: a pickle that says what there is, and a file for the numbers of each storage.
fn torch(bytes: &[u8]) -> Result<Found, String> {
    let archive = Archive::open(bytes)?;
    if archive.find("byteorder").is_some_and(|order| order != b"little") {
        return Err("numbers of a big-endian machine; save it again on a little-endian one".into());
    }
    let pickle = Pickle::read(archive.file("data.pkl")?).map_err(|problem| format!("the file holds {problem}"))?;
    let wrong = || format!("the file holds {}, expected a dictionary of tensors by name", kind(pickle.get(pickle.top)));
    let top = pickle.entries(pickle.top).ok_or_else(wrong)?;
    let of_weights = top.iter().find(|(name, _)| WEIGHTS.contains(name)).map(|(_, id)| *id);
    let weights = of_weights.map_or_else(|| Ok(top.clone()), |id| pickle.entries(id).ok_or_else(wrong))?;

    let (mut tensors, mut arrays) = (BTreeMap::new(), BTreeMap::new());
    for (name, id) in weights.iter().chain(of_weights.iter().flat_map(|_| &top)) {
        let named = |problem: String| format!("\"{name}\": {problem}");
        match pickle.get(*id) {
            Value::Tensor { .. } => drop(tensors.insert(name.to_string(), archive.tensor(&pickle, *id).map_err(named)?)),
            Value::Array(Some(_)) => drop(arrays.insert(name.to_string(), array(&pickle, *id).map_err(named)?)),
            _ => {}
        }
    }
    if tensors.is_empty() {
        return Err(format!(
            "there is no tensor in it, alone or under one of {}",
            WEIGHTS.map(|key| format!("\"{key}\"")).join(", ")
        ));
    }
    // Statistics may be stored as tensors too.
    for name in ["state_mean", "state_std"] {
        if let Some(Stored { numbers: Ok(numbers), .. }) = tensors.remove(name) {
            arrays.insert(name.into(), numbers.into_iter().map(f64::from).collect());
        }
    }
    Ok((tensors, arrays))
}

/// Files of an archive by name, none of them compressed.
struct Archive<'a> {
    /// The folder that all files are in.
    folder: String,
    files: BTreeMap<String, &'a [u8]>,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let wrong = |error: rawzip::Error| format!("a damaged archive: {error}");
        let archive = ZipArchive::from_slice(bytes).map_err(wrong)?;
        let mut files = BTreeMap::new();
        let mut entries = archive.entries();
        while let Some(entry) = entries.next_entry().map_err(wrong)? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            if entry.compression_method() != CompressionMethod::STORE {
                return Err(format!("an archive with compressed files, such as {name}; torch.save writes none"));
            }
            let stored = archive.get_entry(entry.wayfinder()).map_err(wrong)?;
            let (start, end) = stored.compressed_data_range();
            let data = bytes.get(start as usize..end as usize).ok_or("a damaged archive")?;
            io::copy(&mut stored.verifying_reader(data), &mut io::sink())
                .map_err(|error| format!("a damaged archive, {name}: {error}"))?;
            files.insert(name, data);
        }
        let folder = files.keys().find_map(|name| name.strip_suffix("data.pkl")).map(str::to_owned);
        let folder = folder.ok_or("an archive without data.pkl, which torch.save would have written")?;
        Ok(Self { folder, files })
    }

    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.files.get(&format!("{}{name}", self.folder)).copied()
    }

    fn file(&self, name: &str) -> Result<&'a [u8], String> {
        self.find(name).ok_or_else(|| format!("there is no {}{name} in the archive", self.folder))
    }

    fn tensor(&self, pickle: &Pickle, id: Id) -> Result<Stored, String> {
        let Value::Tensor { storage, offset, shape, strides } = pickle.get(id) else { unreachable!("a tensor") };
        let Value::Storage { class, key, numbers } = pickle.get(*storage) else { unreachable!("a tensor has a storage") };
        let shape = shape.clone();
        let bytes = match &**class {
            "torch FloatStorage" => 4,
            "torch DoubleStorage" => 8,
            other => {
                let name = other.rsplit(' ').next().unwrap_or(other).trim_end_matches("Storage").to_owned();
                return Ok(Stored { shape, numbers: Err(name) });
            }
        };
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).unwrap_or(usize::MAX);
        let reach = shape
            .iter()
            .zip(strides)
            .try_fold(*offset, |reach, (&size, &stride)| reach.checked_add(stride.checked_mul(size.saturating_sub(1))?));
        let is_within = count == 0 || reach.is_some_and(|last| last < *numbers);
        if shape.len() != strides.len() || count > *numbers || !is_within {
            return Err(format!("{shape:?} with strides {strides:?} from {offset} on in a storage of {numbers} numbers"));
        }
        let data = self.file(&format!("data/{key}"))?;
        let all: Vec<f32> =
            if bytes == 4 { singles(data) } else { doubles(data).into_iter().map(|number| number as f32).collect() };
        if all.len() < *numbers {
            return Err(format!("its storage has {} numbers of {numbers}", all.len()));
        }
        // Row-major order, counting through the axes from the last.
        let mut index = vec![0; shape.len()];
        let mut gathered = Vec::with_capacity(count);
        for _ in 0..count {
            gathered.push(all[offset + index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>()]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Stored { shape, numbers: Ok(gathered) })
    }
}

fn array(pickle: &Pickle, id: Id) -> Result<Vec<f64>, String> {
    let Value::Array(Some(array)) = pickle.get(id) else { unreachable!("an array") };
    let numbers = match pickle.get(array.dtype) {
        Value::Dtype { name, is_little: true } if name == "f8" => doubles(&array.bytes),
        Value::Dtype { name, is_little: true } if name == "f4" => singles(&array.bytes).into_iter().map(f64::from).collect(),
        Value::Dtype { name, .. } => return Err(format!("an array of {name}, expected little-endian f4 or f8")),
        other => return Err(format!("an array of {}", kind(other))),
    };
    let count = array.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    if count != Some(numbers.len()) {
        return Err(format!("an array of {:?} with {} numbers", array.shape, numbers.len()));
    }
    Ok(numbers)
}
