//! Tables of a TOML file that know where they stand: every value that is missing, misplaced or of the wrong kind
//! becomes an error with line and field.

use super::draft::Places;
use super::{ConfigError, Place};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file's text, for errors.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    file: &'a str,
    text: &'a str,
    lines: &'a Lines,
}

/// Where the lines of a text begin, in bytes: looked up for the place of every value.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// Those of `text`.
    pub fn of(text: &str) -> Self {
        let behind_breaks = text.match_indices('\n').map(|(place, _)| place + 1);
        Self(std::iter::once(0).chain(behind_breaks).collect())
    }

    /// The number of the line that a byte is in, from 1.
    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|begin| *begin <= offset)
    }
}

/// A table of the file.
#[derive(Debug)]
pub struct Table<'a> {
    source: Source<'a>,
    /// How the file would call it: `service[0].server[1]`; empty for the file itself.
    name: String,
    line: usize,
    entries: &'a DeTable<'a>,
}

/// A value of the file.
#[derive(Debug)]
pub struct Value<'a> {
    source: Source<'a>,
    name: String,
    content: &'a Spanned<DeValue<'a>>,
}

impl<'a> Source<'a> {
    /// The text of a file and where its lines begin.
    pub fn new(file: &'a str, text: &'a str, lines: &'a Lines) -> Self {
        Self { file, text, lines }
    }

    /// The text as TOML.
    pub fn parse(self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map(|span| self.line(span.start));
            let place = Place { file: self.file.to_owned(), line, field: None };
            place.error(format_args!("not TOML: {}", error.message().replace('\n', "; ")))
        })
    }

    fn line(self, offset: usize) -> usize {
        self.lines.number(offset)
    }

    fn place(self, offset: usize, field: &str) -> Place {
        let field = (!field.is_empty()).then(|| field.to_owned());
        Place { file: self.file.to_owned(), line: Some(self.line(offset)), field }
    }
}

impl<'a> Table<'a> {
    /// The whole file.
    pub fn root(source: Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, name: String::new(), line: 1, entries: table.get_ref() }
    }

    /// Refuses every key that is not in `known`.
    pub fn only(self, known: &[&str]) -> Result<Self, ConfigError> {
        // Keys are sorted by name in the table; the first in the file is what the user looks for.
        let unknown = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(self),
            Some(key) => {
                let place = self.source.place(key.span().start, &self.key(key.get_ref()));
                Err(place.error(format_args!("unknown key; expected one of {}", known.join(", "))))
            }
        }
    }

    /// The value of `key`, if there is one.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        let value = self.entries.get(key)?;
        Some(Value { source: self.source, name: self.key(key), content: value })
    }

    /// The value of `key`, which has to be there.
    pub fn required(&self, key: &str) -> Result<Value<'a>, ConfigError> {
        self.value(key).ok_or_else(|| {
            let mut place = self.place();
            place.field = Some(self.key(key));
            place.error("missing key")
        })
    }

    /// The table that `key` begins, `[key]`.
    pub fn table(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        self.value(key).map(|value| value.table(&format!("a table, [{key}]"))).transpose()
    }

    /// The tables that `key` begins, `[[key]]`, in order.
    pub fn tables(&self, key: &str) -> Result<Vec<Self>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let expected = format!("tables, each beginning with [[{}]]", without_indices(&value.name));
        value.list(&expected)?.iter().map(|item| item.table(&expected)).collect()
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        let field = (!self.name.is_empty()).then(|| self.name.clone());
        Place { file: self.source.file.to_owned(), line: Some(self.line), field }
    }

    /// Where it and its values stand; what is called `name` names it.
    pub fn places(&self, name: &str, parts: &[&'static str]) -> Places {
        let place = |part: &&'static str| Some((*part, self.value(part)?.place()));
        Places { name: self.place_of(name), parts: parts.iter().filter_map(place).collect() }
    }

    /// Where the value of `key` stands, or, where there is none, the table.
    pub fn place_of(&self, key: &str) -> Place {
        self.value(key).map_or_else(|| self.place(), |value| value.place())
    }

    fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<'a> Value<'a> {
    /// A string, read by `parse`.
    pub fn text<T>(&self, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ConfigError> {
        self.content.get_ref().as_str().and_then(parse).ok_or_else(|| self.unexpected(expected))
    }

    /// A string, read by a `parse` that says itself what it expected.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(self.string()?).map_err(|message| self.place().error(message))
    }

    /// A whole number or a string, read as it is written by a `parse` that says itself what it expected.
    pub fn number_or_text<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        match self.content.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => {
                parse(integer.as_str()).map_err(|message| self.place().error(message))
            }
            _ => self.parsed(parse),
        }
    }

    /// A string that is not empty.
    pub fn string(&self) -> Result<&'a str, ConfigError> {
        match self.content.get_ref().as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.unexpected("a string that is not empty")),
        }
    }

    /// A whole number from `least` to `most`.
    pub fn number(&self, least: u32, most: u32) -> Result<u32, ConfigError> {
        let integer = self.content.get_ref().as_integer();
        let number = integer.and_then(|i| u32::from_str_radix(i.as_str(), i.radix()).ok());
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.unexpected(&format!("a whole number from {least} to {most}")))
    }

    /// A number, whole or not.
    pub fn float(&self) -> Option<f64> {
        match self.content.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => None,
        }
    }

    /// True or false.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        self.content.get_ref().as_bool().ok_or_else(|| self.unexpected("true or false"))
    }

    /// The values of a list.
    pub fn list(&self, expected: &str) -> Result<Vec<Self>, ConfigError> {
        let items = self.content.get_ref().as_array().ok_or_else(|| self.unexpected(expected))?;
        let item = |(number, value)| Self {
            source: self.source,
            name: format!("{}[{number}]", self.name),
            content: value,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.source.place(self.content.span().start, &self.name)
    }

    /// The error that something else was expected here.
    pub fn unexpected(&self, expected: &str) -> ConfigError {
        let found = match self.content.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.place().error(format_args!("expected {expected}, got {found}"))
    }

    /// The table that it is.
    pub fn table(&self, expected: &str) -> Result<Table<'a>, ConfigError> {
        let table = self.content.get_ref().as_table().ok_or_else(|| self.unexpected(expected))?;
        let line = self.source.line(self.content.span().start);
        Ok(Table { source: self.source, name: self.name.clone(), line, entries: table })
    }
}

/// A field's name as it stands in the file: `service.server` for `service[0].server`.
fn without_indices(name: &str) -> String {
    let mut inside = false;
    let outside = |c: &char| {
        inside = *c == '[' || inside && *c != ']';
        !inside && *c != ']'
    };
    name.chars().filter(outside).collect()
}
