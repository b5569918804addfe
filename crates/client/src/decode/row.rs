//! Decodes the fields of a row, or of the rows of a record's details.
//!
//! The wanted paths form a trie. Its nodes walk the members of the objects they meet, in any order. Since rows of one
//! answer have the same members in the same order, each node first tries the member that followed the last time. That
//! takes one comparison and no hashing, for wanted and unwanted members alike.

use super::batch::{Batch, Cell, Mark};
use super::error::{DecodeError, DecodeErrorKind, Fault, REPORT_CHARS, excerpt};
use super::reported::{is_report, is_suspect};
use super::scan::{name, next_member, peek, skip, space};
use super::value::{self, Token};
use super::{ColumnType, FieldColumn};
use std::collections::HashMap;
use std::ops::Range;

/// How many names are remembered for each object, wanted ones not counted. Otherwise a stream of new names would fill
/// the memory.
const MAX_MEMBERS: usize = 4096;

/// Decodes the rows of one answer into the columns of a [`Batch`].
pub struct RowDecoder {
    columns: usize,
    /// The record, then the object of each step of the detail's path.
    levels: Vec<WantedFields>,
    /// Cells with the same value in every row: column, type and text.
    constants: Vec<(usize, ColumnType, String)>,
    identity_bytes: Vec<u8>,
}

/// The wanted fields of one kind of object.
struct WantedFields {
    /// The trie; the first node is the object.
    nodes: Vec<Node>,
    /// The identity fields of the object last read.
    identity: Vec<Option<String>>,
    /// Objects read so far.
    met: u64,
    /// Whether the object last read had a wanted field.
    hit: bool,
    /// The cells of the object last read, for the rows below it.
    cells: Vec<Cell>,
}

/// A path or the beginning of one.
#[derive(Default)]
struct Node {
    sinks: Vec<Sink>,
    children: HashMap<String, usize>,
    /// All sinks that nodes below this one fill.
    below: Vec<Sink>,
    /// The number of the row in which this node was met last; the same row again means a duplicate name.
    met_in: u64,
    /// Members seen so far. The first one stands for the opening brace.
    members: Vec<SeenMember>,
    /// Where in `members` a name, as written between its quotes, is.
    index: HashMap<Box<[u8]>, usize>,
}

/// The receiver of a value.
#[derive(Clone, Copy)]
enum Sink {
    FieldColumn(usize, ColumnType),
    Identity(usize),
    /// The next step on the way to the rows of a detail.
    Rows,
}

struct SeenMember {
    /// `"Name":`
    token: Box<[u8]>,
    action: Action,
    /// The member that came next the last time; 0 if none did.
    next: usize,
}

#[derive(Clone, Copy)]
enum Action {
    /// The member is not wanted.
    Skip,
    /// The member is not wanted, but it may be an error in the place of a row.
    Suspect,
    Node(usize),
    /// The `value` of a wrapper around an object: the same node goes on inside.
    Unwrap,
}

impl RowDecoder {
    /// A decoder for these columns. `identity` gives the paths of the fields that together tell records apart.
    pub fn new(columns: &[FieldColumn], identity: &[Vec<String>]) -> Self {
        Self::of_detail(columns, identity, &[])
    }

    /// A decoder whose rows are those of a detail: each object that the path `detail` leads to, through objects and
    /// arrays alike, gives a row, which holds the fields of the objects above it too. Paths of columns begin at the
    /// record, whichever object they belong to; a column without a path has no field.
    pub fn of_detail(columns: &[FieldColumn], identity: &[Vec<String>], detail: &[String]) -> Self {
        let mut levels: Vec<WantedFields> = (0..=detail.len()).map(|_| WantedFields::new()).collect();
        for (i, column) in columns.iter().enumerate() {
            if !column.path.is_empty() {
                let (level, path) = place(&column.path, detail);
                levels[level].add(path, Sink::FieldColumn(i, column.ty));
            }
        }
        for (level, step) in detail.iter().enumerate() {
            levels[level].add(std::slice::from_ref(step), Sink::Rows);
        }
        levels[0].identity = vec![None; identity.len()];
        for (i, path) in identity.iter().enumerate() {
            levels[0].add(path, Sink::Identity(i));
        }
        Self { columns: columns.len(), levels, constants: Vec::new(), identity_bytes: Vec::new() }
    }

    /// Gives all rows the value that `text` stands for, in a column without a field.
    pub fn set_constant(&mut self, column: usize, ty: ColumnType, text: String) {
        self.constants.push((column, ty, text));
    }

    /// Appends the row, a JSON object, to `batch`, which must have been made for as many columns; of a detail, all
    /// rows that the record has.
    ///
    /// # Errors
    /// A value does not fit the type of its column, the row is no valid JSON object, or the server reports an error in its
    /// place ([`DecodeErrorKind`](super::DecodeErrorKind)). The batch is left as it was; the rest of the record is still read
    /// for its identity.
    pub fn decode(&mut self, row: &[u8], batch: &mut Batch) -> Result<(), DecodeError> {
        let start = batch.begin_record();
        let decoded = self.descend(0, row, batch);
        if decoded.is_err() {
            batch.roll_back(start);
        }
        decoded
    }

    fn descend(&mut self, level: usize, object: &[u8], batch: &mut Batch) -> Result<(), DecodeError> {
        let mark = batch.begin(self.columns);
        match level.checked_sub(1) {
            Some(above) => batch.copy(&mark, &self.levels[above].cells),
            None => self.fill_constants(batch, &mark)?,
        }
        let filled = self.levels[level].fill(object, batch, &mark);
        if level == 0 {
            self.encode_identity();
        }
        let below = filled?;
        if level + 1 == self.levels.len() {
            batch.commit();
            return Ok(());
        }
        batch.take(&mark, &mut self.levels[level].cells);
        let Some(below) = below else { return Ok(()) };
        objects(object, below, |object| self.descend(level + 1, object, batch))
    }

    fn fill_constants(&self, batch: &mut Batch, mark: &Mark) -> Result<(), DecodeError> {
        for (column, ty, text) in &self.constants {
            let token = Token::String { raw: text.as_bytes(), escaped: false };
            let cell = value::cell(token, *ty, batch).map_err(|kind| DecodeError {
                column: Some(*column),
                kind,
                value: excerpt(text.as_bytes(), 60),
            })?;
            batch.set(mark, *column, cell);
        }
        Ok(())
    }

    /// The identity fields of the record last decoded, each as its length in four bytes and its text, so that they
    /// cannot run together. NULL is a value of its own. `None` if a field is missing, or if there are no identity
    /// fields. It is available even after most errors.
    pub fn identity(&self) -> Option<&[u8]> {
        Some(&self.identity_bytes[..]).filter(|bytes| !bytes.is_empty())
    }

    /// The same fields as texts; empty if one is missing.
    pub fn identity_values(&self) -> Vec<String> {
        let values: Option<Vec<String>> = self.levels[0].identity.iter().cloned().collect();
        values.unwrap_or_default()
    }

    /// Whether the record last decoded had a wanted field, or no field is wanted.
    pub fn has_hit(&self) -> bool {
        self.levels[0].hit || self.levels[0].nodes[0].children.is_empty()
    }

    /// The columns whose field no object so far had, if there were objects that could have it.
    pub fn never_met(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().filter(|fields| fields.met > 0).flat_map(WantedFields::never_met)
    }

    /// Whether there was an object of each kind that has wanted fields.
    pub fn has_met_all(&self) -> bool {
        self.levels.iter().all(|fields| fields.met > 0 && fields.has_met_all())
    }

    #[cfg(test)]
    pub(super) fn members(&self) -> usize {
        self.levels[0].nodes.iter().map(|node| node.members.len()).sum()
    }

    fn encode_identity(&mut self) {
        self.identity_bytes.clear();
        for field in &self.levels[0].identity {
            let Some(field) = field else { return self.identity_bytes.clear() };
            // A row is shorter than 4 GiB wherever this is used; if not, only the length is cut, not the text.
            self.identity_bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
            self.identity_bytes.extend_from_slice(field.as_bytes());
        }
    }
}

/// The object on the way to a detail that a path belongs to, and what is left of the path there.
pub(crate) fn place<'a>(path: &'a [String], detail: &[String]) -> (usize, &'a [String]) {
    let common = path.iter().zip(detail).take_while(|(one, other)| one == other).count();
    // The detail as a whole is a field of the object above it.
    let level = common.min(path.len().saturating_sub(1));
    (level, &path[level..])
}

/// Calls `act` for the object at `range`, or for each object of the array there. Nothing, `null` and `{}`, by which
/// REST says "no value", count as no object.
fn objects(
    row: &[u8],
    range: Range<usize>,
    mut act: impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let fault = |kind, at: usize| DecodeError {
        column: None,
        kind,
        value: excerpt(row.get(at..).unwrap_or_default(), 60),
    };
    let mut one = |at: usize, end: usize| match peek(row, at) {
        b'{' if peek(row, space(row, at + 1)) == b'}' => Ok(()),
        b'{' => act(&row[at..end]),
        b'n' => Ok(()),
        _ => Err(fault(DecodeErrorKind::Malformed("an object or an array of objects"), at)),
    };
    if peek(row, range.start) != b'[' {
        return one(range.start, range.end);
    }
    let mut at = space(row, range.start + 1);
    while peek(row, at) != b']' {
        let end = skip(row, at).map_err(|Fault { kind, at }| fault(kind, at))?;
        one(at, end)?;
        at = space(row, end);
        match peek(row, at) {
            b',' => at = space(row, at + 1),
            b']' => {}
            _ => return Err(fault(DecodeErrorKind::Malformed("a comma or the end of the array"), at)),
        }
    }
    Ok(())
}

impl WantedFields {
    fn new() -> Self {
        Self { nodes: vec![Node::new()], identity: Vec::new(), met: 0, hit: false, cells: Vec::new() }
    }

    fn add(&mut self, path: &[String], sink: Sink) {
        let mut node = 0;
        // `*` at the end means all of the object that the rest of the path leads to.
        let path = if path.last().is_some_and(|last| last == "*") { &path[..path.len() - 1] } else { path };
        if !path.is_empty() {
            for name in path {
                self.nodes[node].below.push(sink);
                let new = self.nodes.len();
                node = *self.nodes[node].children.entry(name.clone()).or_insert(new);
                if node == new {
                    self.nodes.push(Node::new());
                }
            }
        }
        self.nodes[node].sinks.push(sink);
    }

    /// Reads an object into the row begun at `mark`. Returns the position of the detail's rows.
    fn fill(
        &mut self,
        row: &[u8],
        batch: &mut Batch,
        mark: &Mark,
    ) -> Result<Option<Range<usize>>, DecodeError> {
        self.met += 1;
        self.identity.fill(None);
        let mut walk = Walk {
            nodes: &mut self.nodes,
            identity: &mut self.identity,
            stamp: self.met,
            row,
            batch,
            mark,
            rows: None,
            suspect: false,
            hit: false,
            error: None,
        };
        let walked = walk.row();
        let rows = walk.rows.take();
        let (suspect, error) = (walk.suspect, walk.error.take());
        self.hit = walk.hit;
        if (suspect || error.is_some()) && is_report(row, |name| self.nodes[0].children.contains_key(name)) {
            let value = excerpt(row, REPORT_CHARS);
            return Err(DecodeError { column: None, kind: DecodeErrorKind::Reported, value });
        }
        match (error, walked) {
            (Some(error), _) => Err(error),
            (None, Err(Fault { kind, at })) => {
                Err(DecodeError { column: None, kind, value: excerpt(row.get(at..).unwrap_or_default(), 60) })
            }
            (None, Ok(())) => Ok(rows),
        }
    }

    fn never_met(&self) -> Vec<usize> {
        let (mut missing, mut open) = (Vec::new(), vec![0]);
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            if at > 0 && !node.is_record() {
                continue;
            }
            for &child in node.children.values() {
                if node.has_met(child) {
                    open.push(child);
                    continue;
                }
                let child = &self.nodes[child];
                missing.extend(child.sinks.iter().chain(&child.below).filter_map(|sink| match sink {
                    Sink::FieldColumn(column, _) => Some(*column),
                    Sink::Identity(_) | Sink::Rows => None,
                }));
            }
        }
        missing
    }

    /// Whether each kind of object came with members at least once.
    fn has_met_all(&self) -> bool {
        self.nodes.iter().skip(1).all(|node| node.children.is_empty() || node.is_record())
    }
}

impl Node {
    fn new() -> Self {
        let opening = SeenMember { token: Box::default(), action: Action::Skip, next: 0 };
        Self { members: vec![opening], ..Self::default() }
    }

    fn has_met(&self, child: usize) -> bool {
        self.members.iter().any(|member| matches!(member.action, Action::Node(node) if node == child))
    }

    /// Whether an object with fields came here, so that missing fields can be found. `null` and `{}` say "no value",
    /// and `{"value":null}` holds nothing either.
    fn is_record(&self) -> bool {
        self.members.iter().skip(1).any(|member| !matches!(member.action, Action::Unwrap))
    }

    /// The member at `at`, given the one before it, and the position of its value. `is_row` says that the node is that
    /// of the row.
    #[inline(always)]
    fn member(&mut self, row: &[u8], at: usize, before: usize, is_row: bool) -> Result<Step, Fault> {
        let guess = self.members[before].next;
        let member = &self.members[guess];
        if guess != 0 && row[at..].starts_with(&member.token) {
            return Ok(Step {
                member: guess,
                action: member.action,
                at: space(row, at + member.token.len()),
            });
        }
        self.look_up(row, at, before, is_row)
    }

    #[cold]
    fn look_up(&mut self, row: &[u8], at: usize, before: usize, is_row: bool) -> Result<Step, Fault> {
        let (raw, at) = name(row, at)?;
        if let Some(&member) = self.index.get(raw) {
            self.members[before].next = member;
            return Ok(Step { member, action: self.members[member].action, at });
        }
        let mut name = String::new();
        let wanted = match value::unescape(raw, raw.contains(&b'\\'), &mut name) {
            Ok(()) => self.children.get(&name),
            // A name that is not UTF-8 is not wanted.
            Err(_) => None,
        };
        let action = match wanted {
            Some(&child) => Action::Node(child),
            None if name == "value" && !is_row => Action::Unwrap,
            None if is_row && is_suspect(&name) => Action::Suspect,
            None => Action::Skip,
        };
        if self.members.len() > MAX_MEMBERS + self.children.len() {
            return Ok(Step { member: before, action, at });
        }
        let member = self.members.len();
        self.members.push(SeenMember { token: [b"\"", raw, b"\":"].concat().into(), action, next: 0 });
        self.index.insert(raw.into(), member);
        self.members[before].next = member;
        Ok(Step { member, action, at })
    }
}

/// The result of [`Node::member`].
struct Step {
    member: usize,
    action: Action,
    at: usize,
}

/// One pass over one row.
struct Walk<'a> {
    nodes: &'a mut [Node],
    identity: &'a mut [Option<String>],
    stamp: u64,
    row: &'a [u8],
    batch: &'a mut Batch,
    mark: &'a Mark,
    /// The position of the detail's rows.
    rows: Option<Range<usize>>,
    /// The object has a member with the name of an error's.
    suspect: bool,
    /// The object has a wanted member.
    hit: bool,
    /// The first value that did not fit.
    error: Option<DecodeError>,
}

impl Walk<'_> {
    fn row(&mut self) -> Result<(), Fault> {
        let at = space(self.row, 0);
        if peek(self.row, at) != b'{' {
            return Err(Fault::malformed("an object", at));
        }
        let end = self.object(0, at, true)?;
        if space(self.row, end) < self.row.len() {
            return Err(Fault::malformed("the end of the row", end));
        }
        // Only a path of ["*"] puts sinks here.
        for i in 0..self.nodes[0].sinks.len() {
            match self.nodes[0].sinks[i] {
                Sink::FieldColumn(column, ColumnType::Json) => self.json(column, at, end),
                sink => self.store(sink, Token::Object, at),
            }
        }
        Ok(())
    }

    /// Walks the object at `at` for the children of `node`. `outer` tells that it may be a wrapper around another one.
    fn object(&mut self, node: usize, at: usize, outer: bool) -> Result<usize, Fault> {
        let mut at = space(self.row, at + 1);
        if peek(self.row, at) == b'}' {
            return Ok(at + 1);
        }
        let mut before = 0;
        loop {
            let step = self.nodes[node].member(self.row, at, before, node == 0)?;
            before = step.member;
            let end = match step.action {
                Action::Skip => skip(self.row, step.at)?,
                Action::Node(child) => {
                    self.hit = true;
                    self.value(child, step.at)?
                }
                Action::Suspect => {
                    self.suspect = true;
                    skip(self.row, step.at)?
                }
                Action::Unwrap if !outer => skip(self.row, step.at)?,
                Action::Unwrap if peek(self.row, step.at) == b'{' => self.object(node, step.at, false)?,
                Action::Unwrap => self.dead_end(node, step.at)?,
            };
            match next_member(self.row, end)? {
                Ok(next) => at = next,
                Err(end) => return Ok(end),
            }
        }
    }

    /// Passes the value at `at` to its sinks, and returns the position behind it.
    #[inline(always)]
    fn value(&mut self, node: usize, at: usize) -> Result<usize, Fault> {
        let this = &self.nodes[node];
        match (&this.sinks[..], &this.below[..]) {
            (&[sink], []) => self.leaf(sink, at),
            _ => self.branch(node, at),
        }
    }

    #[inline(always)]
    fn leaf(&mut self, sink: Sink, at: usize) -> Result<usize, Fault> {
        match sink {
            Sink::FieldColumn(column, ColumnType::Json) => {
                let end = skip(self.row, at)?;
                self.json(column, at, end);
                return Ok(end);
            }
            Sink::Rows => {
                let end = skip(self.row, at)?;
                self.rows = Some(at..end);
                return Ok(end);
            }
            Sink::FieldColumn(..) | Sink::Identity(_) => {}
        }
        let (token, end) = value::token(self.row, at)?;
        self.store(sink, token, at);
        Ok(end)
    }

    /// A value with several sinks, or on the way to other sinks.
    fn branch(&mut self, node: usize, at: usize) -> Result<usize, Fault> {
        let this = &mut self.nodes[node];
        let mut end = at;
        if !this.below.is_empty() {
            if std::mem::replace(&mut this.met_in, self.stamp) == self.stamp {
                self.forget(node);
            }
            end = match peek(self.row, at) {
                b'{' => self.object(node, at, true)?,
                _ => self.dead_end(node, at)?,
            };
        }
        for i in 0..self.nodes[node].sinks.len() {
            end = self.leaf(self.nodes[node].sinks[i], at)?;
        }
        Ok(end)
    }

    /// Removes the value of a duplicate name: the last one counts.
    #[cold]
    fn forget(&mut self, node: usize) {
        for &sink in &self.nodes[node].below {
            match sink {
                Sink::FieldColumn(column, _) => self.batch.set(self.mark, column, Cell::Null),
                Sink::Identity(field) => self.identity[field] = None,
                Sink::Rows => self.rows = None,
            }
        }
    }

    /// The value at `at` is no object, although paths lead through it.
    fn dead_end(&mut self, node: usize, at: usize) -> Result<usize, Fault> {
        let (token, end) = value::token(self.row, at)?;
        let kind = match token {
            Token::Null => return Ok(end),
            Token::Array => DecodeErrorKind::ThroughArray,
            _ => DecodeErrorKind::ThroughScalar,
        };
        self.fail(self.nodes[node].below[0], kind, &self.row[at..end]);
        Ok(end)
    }

    #[inline(always)]
    fn store(&mut self, sink: Sink, token: Token<'_>, at: usize) {
        let result = match sink {
            Sink::FieldColumn(column, ty) => {
                value::cell(token, ty, self.batch).map(|cell| self.batch.set(self.mark, column, cell))
            }
            Sink::Identity(field) => value::identity(token).map(|text| self.identity[field] = Some(text)),
            Sink::Rows => return,
        };
        if let Err(kind) = result {
            let text = match token {
                Token::String { raw, .. } | Token::Number(raw) => raw,
                _ => &self.row[at..],
            };
            self.fail(sink, kind, text);
        }
    }

    #[inline(always)]
    fn json(&mut self, column: usize, at: usize, end: usize) {
        let raw = &self.row[at..end];
        match value::json(raw, self.batch) {
            Ok(cell) => self.batch.set(self.mark, column, cell),
            Err(kind) => self.fail(Sink::FieldColumn(column, ColumnType::Json), kind, raw),
        }
    }

    /// Records the first value that does not fit. The walk goes on, because the identity may follow.
    #[cold]
    fn fail(&mut self, sink: Sink, kind: DecodeErrorKind, text: &[u8]) {
        let column = match sink {
            Sink::FieldColumn(column, _) => Some(column),
            Sink::Identity(_) | Sink::Rows => None,
        };
        self.error.get_or_insert_with(|| DecodeError { column, kind, value: excerpt(text, 60) });
    }
}
