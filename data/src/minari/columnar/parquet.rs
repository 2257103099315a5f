//! Tables of Parquet files.

use crate::hdf5::{ROOM, ROOM_PER_BYTE};
use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;

/// Rows of a table that is read at a time.
const ROWS: usize = 1 << 16;

/// The tables of a file, of the columns that are read.
///
/// # Errors
/// What is wrong with it. May panic on a damaged file.
pub(super) fn batches(bytes: Vec<u8>, columns: &[&str]) -> Result<Vec<RecordBatch>, String> {
    let bytes = Bytes::from(bytes);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|error| error.to_string())?;
    let schema = builder.parquet_schema();
    let roots = schema.root_schema().get_fields().iter().enumerate();
    let roots: Vec<usize> = roots.filter(|(_, field)| columns.contains(&field.name())).map(|(index, _)| index).collect();
    let mask = ProjectionMask::roots(schema, roots);
    // The reader trusts the sizes that a file declares; a damaged one would only exhaust the memory.
    let mut room = ROOM.saturating_add(ROOM_PER_BYTE.saturating_mul(bytes.len() as u64));
    for group in builder.metadata().row_groups() {
        for (_, column) in group.columns().iter().enumerate().filter(|(index, _)| mask.leaf_included(*index)) {
            let compression = column.compression();
            if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(format!(
                    "it is compressed with {compression}, expected Snappy, which is what Minari writes, or nothing"
                ));
            }
            let rows = u64::try_from(group.num_rows()).map_err(|_| "it has fewer than no rows")?;
            let (start, length) = column.byte_range();
            let declared = declared(&bytes, start, length)?.saturating_add(rows.saturating_mul(8));
            room = room.checked_sub(declared).ok_or("it declares more numbers than such a file holds")?;
        }
    }
    let reader = builder.with_projection(mask).with_batch_size(ROWS).build().map_err(|error| error.to_string())?;
    reader.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Bytes that the pages of a column declare to unpack to, and of the numbers in them.
fn declared(bytes: &[u8], start: u64, length: u64) -> Result<u64, String> {
    let place = |at: u64| usize::try_from(at).map_err(|_| "a column lies outside of it");
    let (start, end) = (place(start)?, place(start.saturating_add(length))?);
    let mut rest = bytes.get(start..end).ok_or("a column lies outside of it")?;
    let mut declared = 0u64;
    while !rest.is_empty() {
        let mut header = Header { rest, sizes: [0; 2], values: 0 };
        header.read().ok_or("the header of a page cannot be read")?;
        let [unpacked, packed] = header.sizes.map(|size| u64::try_from(size).ok());
        let (unpacked, packed) = unpacked.zip(packed).ok_or("a page has fewer bytes than none")?;
        let values = u64::try_from(header.values).map_err(|_| "a page has fewer numbers than none")?;
        declared = declared.saturating_add(unpacked).saturating_add(values.saturating_mul(8));
        rest = header.rest.get(place(packed)?..).ok_or("a page is longer than its column")?;
    }
    Ok(declared)
}

/// The header of a page as far as it says sizes, in Thrift's compact protocol. The reader's own is not to be had from outside.
///
/// Source: parquet.thrift, `PageHeader`; thrift-compact-protocol.md.
struct Header<'a> {
    rest: &'a [u8],
    /// Bytes unpacked and packed.
    sizes: [i64; 2],
    values: i64,
}

impl Header<'_> {
    /// Fields 2 and 3 are sizes; in the headers of kinds of pages (5, 7 and 8) field 1 counts numbers.
    fn read(&mut self) -> Option<()> {
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (2 | 3, 5) => self.sizes[id as usize - 2] = self.integer()?,
                (5 | 7 | 8, 12) => {
                    let mut inner = 0;
                    while let Some(kind) = self.field(&mut inner)? {
                        match (inner, kind) {
                            (1, 5) => self.values = self.integer()?,
                            _ => self.skip(kind, 8)?,
                        }
                    }
                }
                _ => self.skip(kind, 8)?,
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// An integer, whose sign is its lowest bit.
    fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The kind of the next field, whose number is counted on from that of the one before; `Some(None)` at the end of a struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        match (byte >> 4, byte & 0xf) {
            (_, 0) => return Some(None),
            (0, _) => *id = self.integer()?,
            (more, _) => *id = id.checked_add(more.into())?,
        }
        Some(Some(byte & 0xf))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                let kind = byte & 0xf;
                // A flag in a list takes a byte.
                (0..count).try_for_each(|_| if kind <= 2 { self.byte().map(drop) } else { self.skip(kind, depth) })
            }
            12 => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn skip_bytes(&mut self, count: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(count).ok()?..)?;
        Some(())
    }
}
