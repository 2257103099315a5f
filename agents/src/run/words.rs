//! Numbers in words, and names from files and settings in words that a terminal and a log can take.

use std::borrow::Cow;

/// A number with about four digits that count.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if !(1e-3..1e9).contains(&magnitude) {
        format!("{value:.3e}")
    } else {
        let decimals = (3.0 - magnitude.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    }
}

/// A time in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{} s", number(seconds));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// A number of things: `1 episode`, `20 episodes`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Text without characters that command a terminal or turn the direction of writing, which names in a stranger's files may hold: they
/// are spelled out as `\u001b`, which JSON reads back as themselves. Line breaks and tabs stay.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let commands = |character: char| {
        character.is_control() && !matches!(character, '\n' | '\t')
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(commands) {
        return text.into();
    }
    let spelled = |character| match commands(character) {
        true => format!("\\u{:04x}", character as u32),
        false => character.to_string(),
    };
    text.chars().map(spelled).collect()
}

/// A name of at most so many bytes for a file: a longer one is cut, and ends with a checksum of the whole, so that two stay apart.
pub fn short_name(name: &str, most: usize) -> Cow<'_, str> {
    if name.len() <= most {
        return name.into();
    }
    let sum = format!("-{:08x}", crc32fast::hash(name.as_bytes()));
    format!("{}{sum}", &name[..name.floor_char_boundary(most - sum.len())]).into()
}

/// Target returns in words, `none` for a policy that is not told one; two that are not the same are not printed alike.
pub(crate) fn asked_for(targets: &[Option<f64>]) -> Vec<String> {
    let short = |target: &Option<f64>| target.map_or("none".into(), number);
    let is_alone = |target: &Option<f64>| targets.iter().all(|other| other == target || short(other) != short(target));
    let name = |target: &Option<f64>| match target {
        Some(asked) if !is_alone(target) => format!("{asked:?}"),
        _ => short(target),
    };
    targets.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlike_target_returns_have_unlike_names() {
        let asked = [Some(1800.0), Some(0.5), Some(0.50001), Some(0.5), None];
        assert_eq!(asked_for(&asked), ["1800", "0.5", "0.50001", "0.5", "none"]);
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = |last: &str| "µ".repeat(100) + last;
        let (one, other) = (long("1"), long("2"));
        let [one, other] = [&one, &other].map(|name| short_name(name, 50));
        assert!(one.len() <= 50 && one.starts_with("µµµ") && one != other, "{one} {other}");
        assert_eq!(short_name("targets-1", 9), "targets-1");
    }

    #[test]
    fn no_character_commands_the_terminal() {
        assert_eq!(plain("a\u{1b}[2J\nb\u{9b}\u{202e}\r"), "a\\u001b[2J\nb\\u009b\\u202e\\u000d");
        assert!(matches!(plain("± µs\n"), Cow::Borrowed(_)));
        let json = serde_json::to_string("\u{9b}\u{7f}").unwrap();
        assert_eq!(serde_json::from_str::<String>(&plain(&json)).unwrap(), "\u{9b}\u{7f}");
    }
}
