//! Checks as text and as JSON.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Check, Status};

/// Columns of the longest usual name.
const NAME: usize = 26;

/// One line of text, with colours that are to be stripped where no terminal shows them.
pub fn line(check: &Check) -> String {
    let (word, colour) = match check.status {
        Status::Ok => ("ok", AnsiColor::Green),
        Status::Degraded => ("degraded", AnsiColor::Yellow),
        Status::Missing => ("missing", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let mend = check.mend.as_ref().map(|mend| format!("; mend: {mend}")).unwrap_or_default();
    format!("{style}{word:<8}{style:#}  {:<NAME$}  {}{mend}", check.name, check.found)
}

#[derive(Serialize)]
struct Document<'a> {
    /// Requests can be seen.
    usable: bool,
    checks: &'a [Check],
}

/// All checks as one JSON object.
pub fn json(checks: &[Check]) -> serde_json::Result<String> {
    let usable = !checks.iter().any(Check::is_fatal);
    serde_json::to_string_pretty(&Document { usable, checks })
}
