//! Which fields hold days, which are no moments.
//!
//! Contract 4 and OData have one type for both. A day is written as midnight in the zone of the site, so that as a
//! moment it is the day before wherever the zone is another. What the definition does not tell, the product's own names
//! do: those of the days and moments of the endpoint Default 24.200.001, of the days that 26.200.001 declares, and
//! of recorded rows (docs/acumatica.md section 2). A field that is taken for a day and holds moments is an error when it is
//! read, which says what to do; so a name that says "date" is believed, unless it is known to be wrong.

use std::collections::HashMap;

use crate::names::snake;
use crate::origin::Origin;

/// What becomes of fields whose type holds a date and a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// Those that hold days are `date`.
    Auto,
    /// All but those that are known to hold moments.
    Date,
    /// Only what the definition declares to be a day is.
    TimestampTz,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Day,
    Moment,
    Unknown,
}

const TIMESTAMPTZ: &str = "timestamp with time zone";

/// The type of a column, given that which its field's own type has, the remote name of its table, and which fields were
/// seen to hold days. Where a field holds a moment by its name, one that happens to be midnight does not make it days.
pub(crate) fn settle(
    sql_type: &'static str,
    table: &str,
    remote: &Origin,
    seen: Option<&HashMap<String, bool>>,
    days: Days,
) -> &'static str {
    if sql_type != TIMESTAMPTZ || days == Days::TimestampTz {
        return sql_type;
    }
    let (Origin::Field(path) | Origin::Parameter { name: path, .. }) = remote else {
        // Custom date-times have no zone (docs/acumatica.md section 2), so neither has their type: what is written is shown.
        return "timestamp without time zone";
    };
    let seen = match remote {
        Origin::Field(_) => seen.and_then(|fields| fields.get(path)),
        _ => None,
    };
    match (holds(table, path), days) {
        _ if seen == Some(&false) => TIMESTAMPTZ,
        (Holds::Unknown, _) if seen == Some(&true) => "date",
        (Holds::Day, _) | (Holds::Unknown, Days::Date) => "date",
        _ => TIMESTAMPTZ,
    }
}

/// Words that say that there is a time of day.
const OF_MOMENTS: [&str; 21] = [
    "time",
    "datetime",
    "timestamp",
    "created",
    "creation",
    "modified",
    "updated",
    "update",
    "changed",
    "sync",
    "synced",
    "activity",
    "reported",
    "remind",
    "run",
    "sent",
    "processed",
    "logged",
    "login",
    "qualification",
    "assignment",
];
/// Records of the calendar and the mail, whose dates are moments (recorded: `StartDate` of EmailProcessing).
const WITH_MOMENTS: [&str; 8] =
    ["activity", "activities", "email", "emails", "event", "events", "cractivity", "smemail"];
/// Names that end with `On` are days behind these, and moments behind others, such as `CreatedOn`.
const DAY_ON: [&str; 14] = [
    "requested",
    "request",
    "ship",
    "ships",
    "promised",
    "expires",
    "starts",
    "ends",
    "due",
    "scheduled",
    "required",
    "needed",
    "effective",
    "date",
];
/// Days that do not say so.
const DAYS: [&str; 9] = [
    "promised",
    "requested",
    "estimation",
    "scheduled_shipment",
    "period_start",
    "period_end",
    "effective_as_of",
    "not_valid_after",
    "as_of",
];
/// What has been last is a moment, but for what is planned and booked by the day.
const LAST_DAYS: [&str; 5] = ["forecast", "billing", "count", "purchase", "invoice"];

fn holds(table: &str, path: &str) -> Holds {
    let steps: Vec<&str> = table.split('/').chain(path.split('/')).collect();
    let Some((field, within)) = steps.split_last() else { return Holds::Unknown };
    let name = snake(field);
    let words: Vec<&str> = name.split('_').collect();
    // `Date_2` is another `Date`.
    let end = words.iter().rposition(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
    let words = &words[..end.map_or(0, |end| end + 1)];
    let (Some(&first), Some(&last)) = (words.first(), words.last()) else { return Holds::Unknown };
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let of_calendar = within.iter().any(|step| {
        let of = snake(step);
        of == "task" || of == "related_tasks" || of.split('_').any(|word| WITH_MOMENTS.contains(&word))
    });
    if has(&OF_MOMENTS) || of_calendar || name.ends_with("datetime") {
        return Holds::Moment;
    }
    if matches!(first, "last") && !has(&LAST_DAYS) {
        return Holds::Moment;
    }
    let says_date = |word: &str| word.ends_with("date") && !word.ends_with("update");
    let on = last == "on" && words.len() > 1 && DAY_ON.contains(&words[words.len() - 2]);
    if first == "date" || says_date(last) || on || DAYS.contains(&words.join("_").as_str()) {
        return Holds::Day;
    }
    Holds::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(table: &str, names: &str, wanted: Holds) {
        for name in names.split_whitespace() {
            assert_eq!(holds(table, name), wanted, "{table} {name}");
        }
    }

    /// The fields of type DateTimeValue in Default 24.200.001 and Manufacturing 24.200.001.
    #[test]
    fn names_of_the_product_tell_days_from_moments() {
        fields(
            "SalesOrder",
            "Date OrderDate DueDate EffectiveDate RequestedOn ShipOn PromisedOn Promised Requested Estimation DateOfBirth \
             ScheduledShipment ScheduledShipmentDate PeriodStart PeriodEnd NotValidAfter EffectiveAsOf ExpiresOn StartsOn \
             FinancialYearStartsOn Date_2 TranDate ARDocDate CTPDate ORDERDATE docdate MainContact/DateOfBirth \
             LastForecastDate LastBillingDate ShippingSettings/CancelByDate PromiseDate EffStartDate",
            Holds::Day,
        );
        fields(
            "SalesOrder",
            "LastModified LastModifiedDateTime LastModifiedDate LastModifiedOn CreatedDate CreatedDateTime CreatedOn CreationDate \
             DateReported LastActivityDate LastIncomingActivity StartTime MondayEndTime RemindAtDate DateCreated LastUpdate \
             BlockSizeChangeLastRunDate LastUpdatedDateTime QualificationDate LastModifiedDateofWarehouseQty lastmodifieddatetime",
            Holds::Moment,
        );
        fields("SalesOrder", "SLA CompletedAt ApprovedOn Closed Constraint", Holds::Unknown);
        fields("EmailProcessing", "StartDate Result/StartDate", Holds::Moment);
        fields("Case/Activities", "StartDate", Holds::Moment);
        fields("Task", "DueDate", Holds::Moment);
        fields("PX_Objects_CR_CRActivity", "StartDate", Holds::Moment);
        fields("ProjectTask", "Properties/PlannedStartDate", Holds::Day);
    }

    #[test]
    fn the_option_decides_where_names_do_not_tell() {
        let of = |name: &str, days| settle(TIMESTAMPTZ, "Case", &Origin::Field(name.into()), None, days);
        assert_eq!(of("ClosingDate", Days::Auto), "date");
        assert_eq!(of("SLA", Days::Auto), TIMESTAMPTZ);
        assert_eq!(of("SLA", Days::Date), "date");
        assert_eq!(of("LastModifiedDateTime", Days::Date), TIMESTAMPTZ);
        assert_eq!(of("ClosingDate", Days::TimestampTz), TIMESTAMPTZ);
        assert_eq!(settle("text", "Case", &Origin::Field("ClosingDate".into()), None, Days::Date), "text");
        let custom = Origin::Custom("Document.UsrDate".into());
        assert_eq!(settle(TIMESTAMPTZ, "Case", &custom, None, Days::Auto), "timestamp without time zone");
        assert_eq!(settle(TIMESTAMPTZ, "Case", &custom, None, Days::TimestampTz), TIMESTAMPTZ);
        let given = Origin::Parameter { name: "AsOfDate".into(), required: true };
        assert_eq!(settle(TIMESTAMPTZ, "Stock", &given, None, Days::Auto), "date");
    }

    #[test]
    fn rows_decide_where_names_do_not_tell_and_against_names_that_say_date() {
        let fields = ["Closed", "ClosingDate", "CreatedOn", "SLA"]
            .map(|name| (name.to_owned(), name != "ClosingDate" && name != "SLA"));
        let seen = HashMap::from(fields);
        let of =
            |name: &str| settle(TIMESTAMPTZ, "Cases", &Origin::Field(name.into()), Some(&seen), Days::Auto);
        assert_eq!(of("Closed"), "date");
        assert_eq!(of("ClosingDate"), TIMESTAMPTZ);
        assert_eq!(of("CreatedOn"), TIMESTAMPTZ);
        assert_eq!(of("SLA"), TIMESTAMPTZ);
        assert_eq!(of("DueDate"), "date");
        let given = Origin::Parameter { name: "ClosingDate".into(), required: true };
        assert_eq!(settle(TIMESTAMPTZ, "Cases", &given, Some(&seen), Days::Auto), "date");
        let sla = settle(TIMESTAMPTZ, "Cases", &Origin::Field("SLA".into()), Some(&seen), Days::Date);
        assert_eq!(sla, TIMESTAMPTZ);
    }
}
