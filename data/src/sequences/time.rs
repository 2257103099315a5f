//! Dates and times of a table, without a time zone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Microseconds of a day.
const DAY: i64 = 24 * 3_600_000_000;

const WHAT: &str = "expected a date such as 2016-07-01, 2016-07-01 13:00 or 2016-07-01T13:00:00";

/// A date and a time of day by the clock of the place where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    /// Since the first of January of the year 1, which was a Monday.
    microseconds: i64,
    year: i64,
    month: i64,
    day: i64,
}

impl Time {
    /// Reads `YYYY-MM-DD`, alone or with `HH:MM`, `HH:MM:SS` and a fraction of a second after a blank or a `T`.
    ///
    /// # Errors
    /// What is wrong. Time zones, and dates whose order of day and month only their writer knows, are refused by name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (date, clock) = text.split_once([' ', 'T']).map_or((text, None), |(date, clock)| (date, Some(clock.trim_start())));
        let parts: Vec<&str> = date.split('-').collect();
        if date.contains('/') || parts.len() == 1 && date.split('.').count() == 3 {
            return Err(format!("a date in the manner of Excel, whose order of day and month is not known; {WHAT}"));
        }
        let [year, month, day] = parts[..] else { return Err(format!("no date; {WHAT}")) };
        let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
            return Err(format!("no date; {WHAT}"));
        };
        if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) || year == 0 {
            return Err(format!("a day that there is not; {WHAT}"));
        }
        let clock = clock.map_or(Ok(0), time_of_day)?;
        let days = 365 * (year - 1) + leap_years(year - 1) + day_of_year(year, month, day);
        Ok(Self { microseconds: days * DAY + clock, year, month, day })
    }

    /// Hour with its part, weekday from Monday on, day of the month and day of the year, each from -0.5 to 0.5 (an hour's last minutes go
    /// beyond): what is known ahead of any time. For whole hours those of GluonTS and the Time-Series-Library.
    pub fn calendar(self) -> [f64; 4] {
        let hour = (self.microseconds % DAY) as f64 / 3.6e9;
        let weekday = (self.microseconds / DAY % 7) as f64;
        let day_of_year = day_of_year(self.year, self.month, self.day) as f64;
        [hour / 23.0 - 0.5, weekday / 6.0 - 0.5, (self.day - 1) as f64 / 30.0 - 0.5, day_of_year / 365.0 - 0.5]
    }

    /// Seconds since another time.
    pub fn seconds_since(self, other: Self) -> f64 {
        (self.microseconds - other.microseconds) as f64 / 1e6
    }

    /// Whole months since another time that is at the same day of a month and time of day.
    pub(super) fn months_since(self, other: Self) -> Option<i64> {
        let is_same = (self.day, self.microseconds % DAY) == (other.day, other.microseconds % DAY);
        is_same.then_some(12 * (self.year - other.year) + self.month - other.month)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.microseconds % DAY / 1_000_000, self.microseconds % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}", self.year, self.month, self.day)?;
        if rest == 0 { Ok(()) } else { write!(f, ".{rest:06}") }
    }
}

/// Microseconds since midnight.
fn time_of_day(clock: &str) -> Result<i64, String> {
    let lower = clock.to_ascii_lowercase();
    if lower.ends_with("am") || lower.ends_with("pm") {
        return Err(format!("a time of a clock of twelve hours; {WHAT}"));
    }
    if clock.contains(['+', '-']) || clock.contains(|letter: char| letter.is_alphabetic()) {
        return Err(format!(
            "a time zone, and times are taken as one clock shows them: write all of them in one zone, without it; {WHAT}"
        ));
    }
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] if fraction.is_empty() => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(format!("no time of day; {WHAT}")),
    };
    let (hour, minute, second) = (digits(hour, 2), digits(minute, 2), digits(second, 2));
    let (Some(hour @ 0..24), Some(minute @ 0..60), Some(second @ 0..60)) = (hour, minute, second) else {
        return Err(format!("no time of day; {WHAT}"));
    };
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction || clock.ends_with('.') {
        return Err(format!("no fraction of a second of at most nine digits; {WHAT}"));
    }
    let microseconds = format!("{fraction:0<6}")[..6].parse::<i64>().unwrap_or(0);
    Ok(((hour * 60 + minute) * 60 + second) * 1_000_000 + microseconds)
}

/// A number of so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Leap years from the first year to this one.
fn leap_years(year: i64) -> i64 {
    year / 4 - year / 100 + year / 400
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 0.
fn day_of_year(year: i64, month: i64, day: i64) -> i64 {
    (1..month).map(|month| days_of_month(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let hour = 3600.0;
        assert_eq!(time("1970-01-01").seconds_since(time("0001-01-01")), 719_162.0 * 24.0 * hour);
        assert_eq!(time("2000-03-01").seconds_since(time("2000-02-28")), 48.0 * hour);
        assert_eq!(time("1900-03-01").seconds_since(time("1900-02-28")), 24.0 * hour);
        assert_eq!(time("2016-07-01T13:00:00.5").seconds_since(time("2016-07-01 12:00")), hour + 0.5);
        assert!(time("2016-12-31 23:59:59.999999") < time("2017-01-01"));
        for text in ["2016-12-31 23:59:59.999999", "0001-01-01 00:00:00", "2016-07-01 13:05:00"] {
            assert_eq!(time(text).to_string(), text);
        }
        // A Friday, the first of a month, the 183rd day of a leap year.
        assert_eq!(time("2016-07-01 23:00").calendar(), [0.5, 4.0 / 6.0 - 0.5, -0.5, 182.0 / 365.0 - 0.5]);
        assert_eq!(time("2017-01-01").calendar(), [-0.5, 0.5, -0.5, -0.5]);
        assert_eq!(time("2016-12-31").calendar()[2..], [0.5, 0.5]);
        assert_eq!(time("2017-01-31").months_since(time("2016-11-30")), None);
        assert_eq!(time("2017-01-30").months_since(time("2016-11-30")), Some(2));
    }

    #[test]
    fn what_is_no_such_time_is_refused_by_name() {
        for (text, word) in [
            ("7/1/2016 0:00", "Excel"),
            ("01.07.2016", "Excel"),
            ("2016-07-01 13:00:00Z", "time zone"),
            ("2016-07-01T13:00:00+02:00", "time zone"),
            ("2016-07-01 13:00 CEST", "time zone"),
            ("2016-07-01 01:00 PM", "twelve hours"),
            ("2016-02-30", "a day that there is not"),
            ("2015-02-29", "a day that there is not"),
            ("2016-13-01", "a day that there is not"),
            ("0000-01-01", "a day that there is not"),
            ("16-07-01", "no date"),
            ("2016-7-1", "no date"),
            ("42552.5", "no date"),
            ("", "no date"),
            ("2016-07-01 24:00", "no time of day"),
            ("2016-07-01 1:00", "no time of day"),
            ("2016-07-01 01", "no time of day"),
            ("2016-07-01 01:00:00.", "fraction"),
            ("2016-07-01 01:00:00.0000000001", "fraction"),
        ] {
            let message = Time::parse(text).unwrap_err();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
