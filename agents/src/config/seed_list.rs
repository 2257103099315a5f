//! Seeds as people write several of them.

use std::collections::HashSet;

/// More runs than anybody wants of one job.
const MOST_SEEDS: u64 = 1000;

/// Reads `1..5`, both ends included, `1,2,7`, or a mixture; `3` is one seed.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn parse_seeds(text: &str) -> Result<Vec<u64>, String> {
    let wrong = || "expected seeds such as 1..5, both ends included, or 1,2,7".to_string();
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
            None => (number(part)?, number(part)?),
        };
        if first > last || last - first >= MOST_SEEDS {
            return Err(format!("{part} has no seeds, or more than {MOST_SEEDS}; {}", wrong()));
        }
        seeds.extend(first..=last);
    }
    let all = seeds.iter().collect::<HashSet<_>>().len();
    if all == seeds.len() { Ok(seeds) } else { Err("one of the seeds is there twice".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_with_both_ends_and_lists() {
        for (text, seeds) in
            [("1..5", &[1, 2, 3, 4, 5][..]), ("1..=2", &[1, 2]), ("1,2,7", &[1, 2, 7]), ("7, 1..2", &[7, 1, 2]), ("3", &[3])]
        {
            assert_eq!(parse_seeds(text), Ok(seeds.to_vec()), "{text}");
        }
        for (text, words) in [
            ("", "expected seeds such as"),
            ("one", "expected seeds such as"),
            ("5..1", "no seeds"),
            ("0..18446744073709551615", "more than 1000"),
            ("1..3,2", "twice"),
        ] {
            assert!(parse_seeds(text).unwrap_err().contains(words), "{text}: {:?}", parse_seeds(text));
        }
    }
}
