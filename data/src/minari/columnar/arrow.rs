//! Tables of Arrow's IPC file format.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::root_as_footer;
use std::sync::Arc;

/// The tables of a file, of the columns that are read. They share its bytes: nothing is allocated from sizes that the file made up.
///
/// # Errors
/// What is wrong with it. May panic on a damaged file.
pub(super) fn batches(bytes: Vec<u8>, columns: &[&str]) -> Result<Vec<RecordBatch>, String> {
    let buffer = Buffer::from_vec(bytes);
    let end = buffer.len().checked_sub(10).ok_or("it is too short")?;
    let length =
        read_footer_length(buffer[end..].try_into().map_err(|_| "it is too short")?).map_err(|error| error.to_string())?;
    let start = end.checked_sub(length).ok_or("its footer is longer than itself")?;
    let footer = root_as_footer(&buffer[start..end]).map_err(|error| format!("its footer: {error}"))?;
    let schema = footer.schema().ok_or("it has no schema")?;
    let schema = Arc::new(try_fb_to_schema(schema).map_err(|error| error.to_string())?);
    let fields = schema.fields().iter().enumerate();
    let read = fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(index, _)| index).collect();
    let decoder = FileDecoder::new(schema, footer.version()).with_projection(read);
    let mut batches = Vec::new();
    for block in footer.recordBatches().ok_or("it has no tables")? {
        let size = |length: i64| usize::try_from(length).ok();
        let length = size(block.bodyLength()).zip(size(block.metaDataLength().into()));
        let range = size(block.offset()).zip(length.and_then(|(body, metadata)| body.checked_add(metadata)));
        let range = range.filter(|(offset, length)| offset.checked_add(*length).is_some_and(|end| end <= buffer.len()));
        let (offset, length) = range.ok_or("a table lies outside of it")?;
        let batch = decoder.read_record_batch(block, &buffer.slice_with_length(offset, length));
        batches.extend(batch.map_err(|error| error.to_string())?);
    }
    Ok(batches)
}
