//! Times as tables show them: "3 mins ago", "1h 2m 23s".

use jiff::civil::DateTime;
use jiff::{Span, Timestamp, Unit, tz::TimeZone};

use crate::base::clock::Moment;

/// What stands in a cell without a time.
pub(crate) const NONE: &str = "-";

/// Returns how long ago a moment was, in its largest unit only.
pub(crate) fn ago(then: Moment, now: Moment) -> String {
    let elapsed = now.since(then);
    if elapsed.as_secs() < 1 {
        return "< 1 sec ago".to_owned();
    }
    let span = calendar_span(then, now);
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let (years, months) = (i64::from(span.get_years()), i64::from(span.get_months()));
    let (weeks, week_days) = (days / 7, days % 7);
    let hours = i64::from(span.get_hours());
    let (minutes, seconds) = (span.get_minutes(), span.get_seconds());
    let round = i64::from;
    if years > 0 {
        counted(years + round(months > 6), "year")
    } else if months == 11 && days > 15 {
        counted(1, "year")
    } else if months > 0 {
        counted(months + round(days >= 27), "month")
    } else if weeks > 0 {
        counted(weeks + round(week_days > 3), "week")
    } else if days > 0 {
        counted(days + round(hours >= 22), "day")
    } else if hours > 0 {
        counted(hours, "hr")
    } else if minutes > 0 {
        counted(minutes, "min")
    } else if seconds > 10 {
        counted(seconds, "sec")
    } else {
        "a few secs ago".to_owned()
    }
}

/// Returns how long ago a moment on the wire was; [`NONE`] for what has not happened.
pub(crate) fn ago_secs(then: Option<f64>, now: Moment) -> String {
    match then {
        Some(secs) if secs > 0.0 => ago(moment(secs), now),
        Some(_) | None => NONE.to_owned(),
    }
}

/// Returns a duration with all units that are not zero.
pub(crate) fn exact(from: Moment, to: Moment) -> String {
    if to.since(from).as_secs() < 1 {
        return "< 1s".to_owned();
    }
    let span = calendar_span(from, to);
    let years = match span.get_years() {
        0 => String::new(),
        1 => "1 year".to_owned(),
        n => format!("{n} years"),
    };
    let mut parts = vec![years];
    let days = i64::from(span.get_days());
    let units = [
        (i64::from(span.get_months()), "mo"),
        (i64::from(span.get_weeks()) + days / 7, "w"),
        (days % 7, "d"),
        (i64::from(span.get_hours()), "h"),
        (span.get_minutes(), "m"),
        (span.get_seconds(), "s"),
    ];
    for (count, unit) in units {
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// Returns the duration of what began and perhaps ended; [`NONE`] for what has not begun.
pub(crate) fn exact_secs(from: Option<f64>, to: Option<f64>, now: Moment) -> String {
    match from {
        Some(secs) if secs > 0.0 => exact(moment(secs), to.map_or(now, moment)),
        Some(_) | None => NONE.to_owned(),
    }
}

/// Returns a number of minutes as the autostop cell shows it.
pub(crate) fn autostop(minutes: i64, down: bool) -> String {
    if minutes < 0 {
        return NONE.to_owned();
    }
    let time = if minutes > 0 && minutes % 60 == 0 {
        format!("{}h", minutes / 60)
    } else {
        format!("{minutes}m")
    };
    if down { format!("{time} (down)") } else { time }
}

/// Returns the moment of a time on the wire.
#[expect(
    clippy::cast_possible_truncation,
    reason = "out of range saturates, which prints a silly age instead of failing"
)]
pub(crate) fn moment(secs: f64) -> Moment {
    Moment::from_micros((secs * 1e6) as i64)
}

/// "1 min ago", "3 mins ago".
fn counted(count: i64, unit: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// Returns the difference in calendar units, years first.
fn calendar_span(from: Moment, to: Moment) -> Span {
    let civil = |moment: Moment| -> DateTime {
        let time: Timestamp = moment.timestamp();
        time.to_zoned(TimeZone::UTC).datetime()
    };
    civil(to)
        .since((Unit::Year, civil(from)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// 2026-08-15, a month after which months have 31 and 30 days.
    const NOW: i64 = 1_786_752_000;

    fn at(secs: i64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    #[test]
    fn ages_show_their_largest_unit() {
        let cases = [
            (0, "< 1 sec ago"),
            (1, "a few secs ago"),
            (10, "a few secs ago"),
            (11, "11 secs ago"),
            (59, "59 secs ago"),
            (60, "1 min ago"),
            (119, "1 min ago"),
            (120, "2 mins ago"),
            (HOUR - 1, "59 mins ago"),
            (HOUR, "1 hr ago"),
            (2 * HOUR - 1, "1 hr ago"),
            (23 * HOUR, "23 hrs ago"),
            (DAY, "1 day ago"),
            (DAY + 21 * HOUR, "1 day ago"),
            (DAY + 22 * HOUR, "2 days ago"),
            (6 * DAY, "6 days ago"),
            (7 * DAY, "1 week ago"),
            (10 * DAY, "1 week ago"),
            (11 * DAY, "2 weeks ago"),
            (28 * DAY, "4 weeks ago"),
            (31 * DAY, "1 month ago"),
            (62 * DAY, "2 months ago"),
            (59 * DAY, "2 months ago"),
            (352 * DAY, "1 year ago"),
            (365 * DAY, "1 year ago"),
            (580 * DAY, "2 years ago"),
        ];
        for (age, text) in cases {
            assert_eq!(ago(at(NOW - age), at(NOW)), text, "{age} s");
        }
        assert_eq!(ago(at(NOW + 5), at(NOW)), "< 1 sec ago");
    }

    #[test]
    fn durations_show_all_units() {
        let cases = [
            (0, "< 1s"),
            (6, "6s"),
            (120, "2m"),
            (186, "3m 6s"),
            (HOUR + 2 * MINUTE + 23, "1h 2m 23s"),
            (DAY + 4 * HOUR, "1d 4h"),
            (9 * DAY, "1w 2d"),
            (31 * DAY, "1mo"),
            (365 * DAY, "1 year"),
            (2 * 365 * DAY + 5, "2 years 5s"),
        ];
        for (length, text) in cases {
            assert_eq!(exact(at(NOW - length), at(NOW)), text, "{length} s");
        }
        assert_eq!(exact_secs(None, None, at(NOW)), "-");
    }

    #[test]
    fn autostop_cells() {
        let cases = [
            (-1, false, "-"),
            (0, false, "0m"),
            (10, false, "10m"),
            (120, true, "2h (down)"),
            (90, true, "90m (down)"),
        ];
        for (minutes, down, text) in cases {
            assert_eq!(autostop(minutes, down), text);
        }
    }
}
