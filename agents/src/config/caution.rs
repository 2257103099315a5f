//! What looks wrong and may be meant.

use anyhow::{Result, bail};

/// Says what looks wrong with a job or its data, and may be meant: a line of the log each, or with `strict` one error.
///
/// # Errors
/// With `strict`, if there is any.
pub(crate) fn caution(found: &[String], strict: bool) -> Result<()> {
    if strict && !found.is_empty() {
        bail!("{} (a warning without --strict)", found.join("; "));
    }
    found.iter().for_each(|text| tracing::warn!("{text}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caution_is_an_error_where_the_job_is_strict() {
        let found = ["the limits differ: 5 and 7".to_string(), "the walls differ".to_string()];
        assert!(caution(&[], true).is_ok() && caution(&found, false).is_ok());
        let message = caution(&found, true).unwrap_err().to_string();
        assert_eq!(message, "the limits differ: 5 and 7; the walls differ (a warning without --strict)");
    }
}
