//! Rows to text.

use super::columns::{Column, GPU, Kind, columns, have_gpus};
use super::notes::notes;
use super::row::Row;
use super::text::{fit, fit_name, pad, width as columns_of};

/// Columns between two columns.
const GAP: usize = 2;
/// Widths of figures and names that columns which stay have room for.
const NUMBER: usize = 6;
const TEXT: usize = 24;
const NOTHING: &str = "no inference server found yet; watching …";

/// The rows as a table, no line of which is wider than `width` columns; what there is no room for is left out, the
/// least important first.
pub fn render(rows: &[Row], width: usize) -> String {
    if rows.is_empty() {
        return fit(NOTHING, width) + "\n";
    }
    let all = columns(rows).map(|column| Shown::new(column, rows)).collect();
    Table::choose(all, width).text(rows, width)
}

/// Tables below each other, for pipes and files: which columns there are does not depend on the figures, so that a program
/// finds them again in the next table. The first workloads decide; the columns of GPUs join with the first GPU.
#[derive(Debug)]
pub struct Plain {
    width: usize,
    columns: Vec<&'static Column>,
    have_gpus: bool,
}

impl Plain {
    /// Tables of so many screen columns, and of more where columns that stay need them.
    pub fn new(width: usize) -> Self {
        Self { width, columns: Vec::new(), have_gpus: false }
    }

    /// The rows as the next table; what stands below it is as wide as a screen.
    pub fn render(&mut self, rows: &[Row]) -> String {
        if rows.is_empty() {
            return render(rows, self.width);
        }
        let joined = have_gpus(rows) && !self.have_gpus;
        self.have_gpus |= joined;
        if self.columns.is_empty() {
            let chosen = Table::choose(Self::shown(columns(rows), rows), self.width);
            self.columns = chosen.shown.iter().map(|shown| shown.column).collect();
        } else if joined {
            let old = |column: &&Column| self.columns.iter().any(|old| std::ptr::eq(*old, *column));
            self.columns = columns(rows).filter(|column| column.group == GPU || old(column)).collect();
        }
        Table::of(Self::shown(self.columns.iter().copied(), rows), self.width).text(rows, self.width)
    }

    /// The columns with room for the figures of other tables.
    fn shown(columns: impl Iterator<Item = &'static Column>, rows: &[Row]) -> Vec<Shown> {
        columns.map(|column| Shown::new(column, rows).roomy()).collect()
    }
}

struct Table {
    shown: Vec<Shown>,
}

/// A column with its cells.
struct Shown {
    column: &'static Column,
    cells: Vec<String>,
    width: usize,
}

impl Shown {
    fn new(column: &'static Column, rows: &[Row]) -> Self {
        let cells: Vec<String> = rows.iter().map(column.cell).collect();
        let widest = cells.iter().map(|cell| columns_of(cell)).max().unwrap_or(0);
        Self { column, cells, width: widest.max(columns_of(column.head)) }
    }

    /// As wide as figures and names of other rows may be.
    fn roomy(mut self) -> Self {
        self.width = self.width.max(if self.column.kind == Kind::Number { NUMBER } else { TEXT });
        self
    }

    /// The width that it asks for where the column that is left out next is as `dispensable`.
    fn asks(&self, dispensable: u8) -> usize {
        match self.column.kind {
            Kind::Number => self.width,
            Kind::Text { most, before, .. } if dispensable > before => self.width.min(most),
            Kind::Text { least, .. } => self.width.min(least),
        }
    }

    fn line(&self, text: &str) -> String {
        match self.column.kind {
            Kind::Number => pad(&fit(text, self.width), self.width, true),
            Kind::Text { .. } => pad(&fit_name(text, self.width), self.width, false),
        }
    }
}

impl Table {
    /// As many of the columns as there is room for.
    fn choose(mut shown: Vec<Shown>, width: usize) -> Self {
        loop {
            widen_for_groups(&mut shown);
            let dispensable = most_dispensable(&shown);
            if shown.len() == 1 || asked(&shown, dispensable) <= width {
                break;
            }
            shown.retain(|shown| shown.column.dispensable != dispensable);
        }
        let mut table = Self::of(shown, width);
        if let [only] = table.shown.as_mut_slice() {
            only.width = only.width.min(width);
        }
        table
    }

    /// These columns, whether there is room for them or not.
    fn of(mut shown: Vec<Shown>, width: usize) -> Self {
        widen_for_groups(&mut shown);
        share_out(&mut shown, width);
        Self { shown }
    }

    /// The whole text: the table, and what is to be said of it.
    fn text(&self, rows: &[Row], width: usize) -> String {
        let lines = self.lines().into_iter().chain(notes(rows, width));
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn lines(&self) -> Vec<String> {
        let rows = self.shown.first().map_or(0, |shown| shown.cells.len());
        let line = |text: &dyn Fn(&Shown) -> String| {
            let cells: Vec<String> = self.shown.iter().map(|shown| shown.line(&text(shown))).collect();
            cells.join(&" ".repeat(GAP))
        };
        let groups = self.groups();
        let heads = line(&|shown| shown.column.head.to_owned());
        let cells = (0..rows).map(|row| line(&|shown| shown.cells[row].clone()));
        // Without groups the first line has nothing to say.
        let groups = if groups.trim().is_empty() { None } else { Some(groups) };
        groups.into_iter().chain([heads]).chain(cells).collect()
    }

    /// The line of the groups' names, each above its columns.
    fn groups(&self) -> String {
        let names = spans(&self.shown).into_iter().map(|span| {
            let width = span.iter().map(|shown| shown.width).sum::<usize>() + GAP * (span.len() - 1);
            let name = span[0].column.group;
            match width.checked_sub(columns_of(name) + 2) {
                Some(rest) if span.len() > 1 => {
                    format!("{} {name} {}", "─".repeat(rest / 2), "─".repeat(rest - rest / 2))
                }
                _ => pad(name, width, true),
            }
        });
        names.collect::<Vec<_>>().join(&" ".repeat(GAP))
    }
}

/// Columns side by side that share a group; one without a group is by itself.
fn spans(shown: &[Shown]) -> Vec<&[Shown]> {
    shown.chunk_by(|a, b| !a.column.group.is_empty() && a.column.group == b.column.group).collect()
}

/// Makes room for the name of a group above its columns.
fn widen_for_groups(shown: &mut [Shown]) {
    for span in shown.chunk_by_mut(|a, b| !a.column.group.is_empty() && a.column.group == b.column.group) {
        let width = span.iter().map(|shown| shown.width).sum::<usize>() + GAP * (span.len() - 1);
        if let Some(first) = span.first_mut() {
            first.width += columns_of(first.column.group).saturating_sub(width);
        }
    }
}

fn most_dispensable(shown: &[Shown]) -> u8 {
    shown.iter().map(|shown| shown.column.dispensable).max().unwrap_or(0)
}

/// The width that all of them ask for.
fn asked(shown: &[Shown], dispensable: u8) -> usize {
    shown.iter().map(|shown| shown.asks(dispensable)).sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

/// Gives columns of text what is left beside what they ask for at least, the first one first.
fn share_out(shown: &mut [Shown], width: usize) {
    let mut spare = width.saturating_sub(asked(shown, 0));
    for shown in shown {
        if let Kind::Text { most, .. } = shown.column.kind {
            let least = shown.asks(0);
            let more = (shown.width.min(most) - least).min(spare);
            shown.width = least + more;
            spare -= more;
        }
    }
}
