//! How one cell comes about: a pure function of the seed, the column and the row number.

use super::calendar::{DAY, civil, days};
use super::generator::Gen;
use super::rng::Rng;
use super::value::{Kind, Val};
use super::words::words;
use super::{Data, INSERTED};

use base64::Engine;

/// `prefix` and a number of at least `width` digits.
fn numbered(prefix: &str, number: u64, width: usize) -> Val {
    let mut text = String::with_capacity(prefix.len() + width + 4);
    text.push_str(prefix);
    let mut digits = [b'0'; 20];
    let (mut rest, mut at) = (number, digits.len());
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for &digit in &digits[at.min(digits.len() - width)..] {
        text.push(char::from(digit));
    }
    Val::text(text)
}

impl Data {
    /// The value of a column in a (physical) row.
    pub fn value(&self, t: usize, c: usize, row: u64) -> Val {
        let table = &self.schema.tables[t];
        let col = &table.cols[c];
        if let Gen::Stored(values) = &col.r#gen {
            return values[row as usize].clone();
        }
        let mut rng = Rng::new(self.seed, col.salt, row);
        if col.null_percent > 0 && rng.below(100) < col.null_percent {
            return Val::Null;
        }
        match &col.r#gen {
            Gen::Block | Gen::Seq { .. } | Gen::Key { .. } | Gen::RowNumber(_) => {
                self.position(t, &col.r#gen, row)
            }
            Gen::Line => Val::Int(self.line(t, row) as i64),
            Gen::Pick(all) => Val::text(all[rng.below(all.len() as u64) as usize]),
            Gen::Choice(all) => Val::Choice(&all[rng.below(all.len() as u64) as usize]),
            Gen::Const(text) => Val::text(*text),
            Gen::Words(sort) => Val::Text(words(*sort, &mut rng, row)),
            Gen::Ref { link, col } => {
                let link = &table.links[*link];
                self.value(link.to, *col, self.follow(t, link, row))
            }
            Gen::Int(low, high) => Val::Int(low + rng.below((high - low + 1) as u64) as i64),
            Gen::Dec { low, high, scale } => {
                if (row ^ rng.salt()).is_multiple_of(37) {
                    return Val::Dec(0, *scale);
                }
                let unit = 10i64.pow(u32::from(*scale));
                let span = (high - low) as u64 * unit as u64 + 1;
                Val::Dec(i128::from(low * unit) + i128::from(rng.below(span)), *scale)
            }
            Gen::Wide(scale) => {
                let digits = 1 + rng.below(28) as u32;
                let magnitude = (u128::from(rng.draw()) << 64 | u128::from(rng.draw())) % 10u128.pow(digits);
                let sign = if rng.draw() & 1 == 0 { 1 } else { -1 };
                Val::Dec(sign * magnitude as i128, *scale)
            }
            Gen::Double => Val::Double((rng.draw() as i64 as f64) / 3e15),
            Gen::Bool(percent) => Val::Bool(rng.below(100) < *percent),
            Gen::Date(from, to) => match row ^ rng.salt() {
                r if r % 211 == 11 => Val::Date(days(1900, 1, 1) as i32),
                r if r % 223 == 13 => Val::Date(days(9999, 12, 31) as i32),
                _ => {
                    let first = days(*from, 1, 1);
                    Val::Date((first + rng.below((days(*to, 12, 31) - first + 1) as u64) as i64) as i32)
                }
            },
            Gen::Ts(from, to) => Val::Ts(timestamp(&mut rng, *from, *to)),
            Gen::Culture => Val::text(culture(timestamp(&mut rng, 2019, 2025))),
            // It is the `id` of the record (docs/acumatica.md §2.2, HTE).
            Gen::Guid if col.name == "NoteID" => Val::Guid(self.guid(t, row)),
            Gen::Guid => Val::Guid(u128::from(rng.draw()) << 64 | u128::from(rng.draw())),
            Gen::RowVersion => {
                Val::text(base64::engine::general_purpose::STANDARD.encode((rng.draw() >> 16).to_be_bytes()))
            }
            Gen::Mul(a, b, scale) => product(&self.value(t, *a, row), &self.value(t, *b, row), *scale),
            Gen::Sum { detail, col } => {
                let child = table.details[*detail].child;
                let Kind::Dec(scale) = self.schema.tables[child].cols[*col].kind else { return Val::Null };
                let mut sum = 0;
                for line in self.children(child, row) {
                    if let Val::Dec(mantissa, _) = self.value(child, *col, line) {
                        sum += mantissa;
                    }
                }
                Val::Dec(sum, scale)
            }
            Gen::Deleted => Val::Bool(row & INSERTED == 0 && row >= self.count(t)),
            Gen::Parameter => Val::Null,
            Gen::RefName(..) | Gen::MulNames(..) | Gen::SumNames(..) | Gen::Stored(_) => {
                unreachable!("bound when the tables are read, or returned above")
            }
        }
    }

    /// Values that depend on where the row stands; inserted rows take them from the row before.
    fn position(&self, t: usize, r#gen: &Gen, row: u64) -> Val {
        if row & INSERTED != 0 {
            let (base, suffix) = self.inserted_after(row);
            return match (self.position(t, r#gen, base), r#gen) {
                (Val::Text(text), Gen::Seq { .. } | Gen::Key { .. }) => Val::text(format!("{text}{suffix}")),
                (Val::Int(_), _) => Val::Int((1 << 30) + (row & 0xffff) as i64),
                (other, _) => other,
            };
        }
        let block = self.block(t, row);
        let start = self.starts[t][block];
        match r#gen {
            Gen::Block => {
                let name = self.schema.tables[t].blocks[block].0;
                if name.code == name.label { Val::text(name.code) } else { Val::Choice(name) }
            }
            Gen::Seq { prefix, width } => numbered(prefix, row - start + 1, *width),
            Gen::Key { prefixes, width } => {
                let per = self.counts[t].div_ceil(prefixes.len() as u64).max(1);
                let which = ((row / per) as usize).min(prefixes.len() - 1);
                numbered(prefixes[which], row - which as u64 * per + 1, *width)
            }
            Gen::RowNumber(base) => Val::Int(base + row as i64 + 1),
            _ => Val::Null,
        }
    }
}

/// Fractions of none, two, three and six digits, as different Acumatica tables have them.
fn timestamp(rng: &mut Rng, from: i64, to: i64) -> i64 {
    let first = days(from, 1, 1);
    let day = first + rng.below((days(to, 12, 31) - first + 1) as u64) as i64;
    let seconds = rng.below(86_400) as i64;
    let fraction = match rng.below(4) {
        0 => 0,
        1 => rng.below(100) as i64 * 10_000,
        2 => rng.below(1000) as i64 * 1000,
        _ => rng.below(1_000_000) as i64,
    };
    day * DAY + seconds * 1_000_000 + fraction
}

fn culture(micros: i64) -> String {
    let (y, m, d) = civil(micros.div_euclid(DAY));
    let s = micros.rem_euclid(DAY) / 1_000_000;
    format!("{m:02}/{d:02}/{y:04} {:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// Rounds half away from zero, as SQL Server does.
fn product(a: &Val, b: &Val, scale: u8) -> Val {
    let (Val::Dec(x, xs), Val::Dec(y, ys)) = (a, b) else { return Val::Null };
    let (mut mantissa, mut have) = (x * y, xs + ys);
    if have > scale {
        let unit = 10i128.pow(u32::from(have - scale));
        mantissa = (mantissa + mantissa.signum() * unit / 2) / unit;
        have = scale;
    }
    Val::Dec(mantissa * 10i128.pow(u32::from(scale - have)), scale)
}
