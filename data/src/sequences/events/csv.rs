//! A table with a row an event and the columns `sequence`, `time` and, where events are told apart, `mark`; others are not looked at.

use std::collections::HashMap;
use std::path::Path;

use super::super::error::SequenceError;
use super::super::fields::Separator;
use super::super::lines::{Line, lines, quoted, unpacked};
use super::super::time::Time;
use super::marked::{EventSequence, Events, MOST_MARKS, Marks};

/// Reads a file. Rows of different sequences may come in any order.
pub(super) fn read(path: &Path) -> Result<Events, SequenceError> {
    let bytes = unpacked(path)?;
    let mut rows = lines(path, &bytes).filter(|line| !line.is_blank());
    let nothing = |problem: &str| SequenceError::Table { path: path.into(), problem: problem.into() };
    let header = rows.next().ok_or_else(|| nothing("the file has no row, expected a header with sequence, time and mark"))?;
    let text = header.text()?;
    let separator = Separator::of(text);
    let names = separator.split(header, text)?;
    let find = |name: &str| names.iter().position(|other| other.eq_ignore_ascii_case(name));
    let column = |name: &str| {
        let known = names.join(", ");
        find(name).ok_or_else(|| SequenceError::Column { path: path.into(), name: name.into(), known })
    };
    let (sequence, time, mark) = (column("sequence")?, column("time")?, find("mark"));
    let mut sequences: Vec<EventSequence> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut words: HashMap<&str, u32> = HashMap::new();
    let mut is_dated = None;
    for line in rows {
        let text = line.text()?;
        let fields = separator.split(line, text)?;
        if fields.len() != names.len() {
            let place = fields.get(names.len()).copied().unwrap_or(&text[text.len()..]);
            let problem = format!("found a row of {} fields, expected {} as in the header", fields.len(), names.len());
            return Err(line.wrong(place, problem));
        }
        let field = fields[time];
        let found = time_of(line, field, &mut is_dated)?;
        if fields[sequence].is_empty() {
            return Err(line.wrong(fields[sequence], "found no name of a sequence".into()));
        }
        let at = *numbers.entry(fields[sequence]).or_insert_with(|| {
            sequences.push(EventSequence::default());
            sequences.len() - 1
        });
        if sequences[at].times.last().is_some_and(|last| *last > found) {
            let of = quoted(fields[sequence]);
            return Err(line.wrong(field, format!("{} is before the event before it of the sequence {of}", quoted(field))));
        }
        let kind = match mark.map(|mark| fields[mark]) {
            None => 0,
            Some("") => return Err(line.wrong(fields[mark.unwrap_or(0)], "found no mark".into())),
            Some(word) => {
                let next = words.len() as u32;
                *words.entry(word).or_insert(next)
            }
        };
        if words.len() > MOST_MARKS {
            return Err(line.wrong(field, format!("found more than {MOST_MARKS} marks")));
        }
        sequences[at].times.push(found);
        sequences[at].marks.push(kind);
    }
    let marks = if mark.is_some() { Marks::Words(sorted(&words, &mut sequences)) } else { Marks::None };
    Ok(Events { path: path.into(), marks, is_dated: is_dated == Some(true), sequences })
}

/// A time: a number, or a date in seconds since 1970 began.
///
/// - `is_dated`: which of the two other times are; none before the first
pub(super) fn time_of(line: Line<'_>, field: &str, is_dated: &mut Option<bool>) -> Result<f64, SequenceError> {
    let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
    let (found, is_date) = match (number, Time::parse(field)) {
        (Some(number), _) => (number, false),
        (None, Ok(date)) => (date.seconds_since(Time::parse("1970-01-01").expect("a date")), true),
        (None, Err(problem)) => {
            let problem = if field.contains('-') { problem } else { "expected a number or a date".into() };
            return Err(line.wrong(field, format!("found {}: {problem}", quoted(field))));
        }
    };
    if *is_dated.get_or_insert(is_date) != is_date {
        return Err(line.wrong(field, format!("found {}, where other times are dates and numbers are not", quoted(field))));
    }
    Ok(found)
}

/// The words in their order, by which marks are numbered then.
fn sorted(words: &HashMap<&str, u32>, sequences: &mut [EventSequence]) -> Vec<String> {
    let mut order: Vec<(&str, u32)> = words.iter().map(|(word, number)| (*word, *number)).collect();
    order.sort();
    let numbers: Option<Vec<f64>> = order.iter().map(|(word, _)| word.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut by_size: Vec<usize> = (0..order.len()).collect();
        by_size.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        order = by_size.into_iter().map(|at| order[at]).collect();
    }
    let mut new = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, (_, number))| new[*number as usize] = at as u32);
    sequences.iter_mut().flat_map(|sequence| &mut sequence.marks).for_each(|mark| *mark = new[*mark as usize]);
    order.into_iter().map(|(word, _)| word.to_string()).collect()
}
