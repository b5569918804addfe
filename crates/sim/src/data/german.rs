//! Some labels in German, for users whose locale is German. Others stay as they are: translations have gaps.

use super::value::Choice;

/// The entity whose drop-downs are translated.
pub const ENTITY: &str = "SalesOrder";

static LABELS: &[(&str, Choice)] = &[
    ("Canceled", Choice { code: "L", label: "Storniert" }),
    ("Completed", Choice { code: "C", label: "Abgeschlossen" }),
    ("On Hold", Choice { code: "H", label: "Angehalten" }),
    ("Open", Choice { code: "N", label: "Offen" }),
];

pub fn german(choice: &'static Choice) -> &'static Choice {
    let known = LABELS.iter().find(|(label, german)| *label == choice.label && german.code == choice.code);
    known.map_or(choice, |(_, german)| german)
}
