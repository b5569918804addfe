//! What the definitions say about reading an inquiry or class, if the table does not say it: the parameters of an
//! inquiry and the function that takes them, the fields that conditions must not use, and whether a class is one
//! object.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acumatica_pushdown::Filter;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::catalog::{EntitySet, Model, Property};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::csdl;
use crate::request::{ScanRequest, Surface};

/// Inquiries are changed while people use them.
const LIFE: Duration = Duration::from_secs(600);
/// A document that could not be read is asked for again sooner.
const LIFE_OF_FAILURE: Duration = Duration::from_secs(60);

/// The definitions of all inquiries, read when the first one is needed.
#[derive(Debug, Default)]
pub(crate) struct Inquiries(Mutex<Option<(Instant, Result<Arc<Model>>)>>);

impl Inquiries {
    /// The definition of an inquiry; an empty one if the document does not define it.
    ///
    /// # Errors
    /// The document cannot be read (see [`is_about_document`]), or the server cannot be asked.
    pub async fn find(&self, name: &str, read: impl AsyncFnOnce() -> Result<Model>) -> Result<EntitySet> {
        let mut known = self.0.lock().await;
        let is_good = |(since, model): &(Instant, Result<_>)| {
            since.elapsed() < if model.is_ok() { LIFE } else { LIFE_OF_FAILURE }
        };
        let model = match known.as_ref().filter(|known| is_good(known)) {
            Some((_, model)) => model.clone()?,
            None => {
                let model = read().await.map(Arc::new);
                if model.as_ref().err().is_none_or(is_about_document) {
                    *known = Some((Instant::now(), model.clone()));
                }
                model?
            }
        };
        Ok(csdl::find(&model, name).cloned().unwrap_or_default())
    }
}

/// Whether a failure to read definitions is about the document, so that rows may still be read.
pub(crate) fn is_about_document(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(error.kind, Forbidden | NotFound | NoRecord | Server | Protocol | TooLarge | Empty)
}

/// Whether the definition must be known before rows can be asked for. A class is known by its full name, such as
/// `PX_Objects_SO_SOOrder`; another name may be that of another class (docs/acumatica.md section 3).
pub(crate) fn needs_definition(request: &ScanRequest) -> bool {
    let target = &request.target;
    match target.surface {
        Surface::Rest => false,
        Surface::GenericInquiry => request.parameters.is_empty() || target.function.is_none(),
        Surface::Dac => !target.singleton && !target.name.contains('_'),
    }
}

/// What the definition says about reading an inquiry or class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    parameters: Vec<String>,
    function: Option<String>,
    /// Fields that conditions must not use: [`EntitySet::appended`] of an inquiry, or the fields that a class refuses,
    /// in `$select` as well.
    unsent: Vec<String>,
    singleton: bool,
}

impl Definition {
    pub fn of(set: &EntitySet, surface: Surface) -> Self {
        let unsent: Vec<&Property> = match surface {
            Surface::Dac => set.properties.iter().filter(|property| !property.filterable).collect(),
            _ => set.appended().iter().collect(),
        };
        Self {
            parameters: set.parameters.iter().map(|parameter| parameter.name.clone()).collect(),
            function: set.function.clone(),
            unsent: unsent.into_iter().map(|property| property.name.clone()).collect(),
            singleton: set.singleton,
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Changes the request as the definition demands.
    ///
    /// # Errors
    /// The inquiry cannot be read this way, or the request sorts or counts by a field that conditions must not use.
    pub fn fit<'a>(&self, request: &'a ScanRequest) -> Result<Cow<'a, ScanRequest>> {
        let mut fitted = Cow::Borrowed(request);
        match &self.function {
            _ if self.parameters.is_empty() => {}
            _ if request.parameters.is_empty() => return Err(without_parameters(request, &self.parameters)),
            Some(function) => fitted.to_mut().target.function = Some(function.clone()),
            None if request.target.function.is_none() => return Err(shared_function(request)),
            None => {}
        }
        if self.singleton {
            fitted.to_mut().target.singleton = true;
        }
        let is_vouched = |name: &str| request.filter.as_ref().is_some_and(|filter| filter.is_vouched(name));
        let unsent = |name: &str| self.unsent.iter().any(|field| field == name) && !is_vouched(name);
        if request.target.surface == Surface::Dac && !self.unsent.is_empty() {
            fitted.to_mut().unselectable.extend(self.unsent.iter().cloned());
        }
        if let Some(by) = request.order.iter().find(|by| unsent(&by.field)) {
            let message = format!("conditions and orders must not use field \"{}\"", by.field);
            return Err(Error::new(ErrorKind::CannotOrder, message));
        }
        let filter = request.filter.as_ref();
        let asked = filter.map(Filter::paths).unwrap_or_default();
        let Some(field) = asked.iter().find(|field| unsent(field)) else { return Ok(fitted) };
        if request.is_final() {
            let message = format!("conditions and orders must not use field \"{field}\"");
            return Err(Error::new(ErrorKind::RowsOnly, message));
        }
        fitted.to_mut().filter = filter.and_then(|filter| filter.without(&|path| unsent(&path.join("/"))));
        Ok(fitted)
    }
}

/// The error for an inquiry that is read without its parameters: it returns no rows, or those of default values, and
/// nothing tells them from all rows.
fn without_parameters(request: &ScanRequest, names: &[String]) -> Error {
    Error::new(
        ErrorKind::Definition,
        format!("{} has parameters, and foreign table \"{}\" has no columns for them", request.target, request.table),
    )
    .detail(format!(
        "They are {}. Acumatica answers a request without them with no rows, or with those of default values, and no \
         error.",
        names.join(", ")
    ))
    .hint(
        "Import the inquiry, or give the table a column for each parameter, with the options field and parameter; \
         queries then set them in WHERE.",
    )
}

fn shared_function(request: &ScanRequest) -> Error {
    Error::new(ErrorKind::Definition, format!("{} cannot be called with parameters", request.target))
        .detail("Its function has the same name as that of another inquiry, so that either might answer.")
        .hint(
            "Rename one of the inquiries in Acumatica, so that they differ in more than blanks and hyphens.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{FieldType, InquiryParameter};
    use crate::decode::ColumnType;
    use crate::request::tests::{equal, request};
    use crate::request::{Order, Parameter};

    fn set(parameters: &[&str], key: &[&str], properties: &[&str]) -> EntitySet {
        let property = |name: &&str| Property {
            name: (*name).into(),
            ty: FieldType::Text,
            nullable: true,
            filterable: true,
            title: None,
        };
        let parameter =
            |name: &&str| InquiryParameter { name: (*name).into(), ty: FieldType::Text, required: true };
        EntitySet {
            name: "X".into(),
            key: key.iter().map(|name| (*name).into()).collect(),
            properties: properties.iter().map(property).collect(),
            parameters: parameters.iter().map(parameter).collect(),
            function: (!parameters.is_empty()).then(|| "X_WithParameters".into()),
            ..EntitySet::default()
        }
    }

    fn inquiry() -> ScanRequest {
        let mut request = request("X", &[("Item", ColumnType::Text)], &[]);
        request.target.surface = Surface::GenericInquiry;
        request
    }

    #[test]
    fn issue_3_1_the_bare_set_of_an_inquiry_with_parameters_is_not_read() {
        let with_parameters = set(&["Site", "Day"], &[], &["Item"]);
        let mut request = inquiry();
        let fitted = |request: &ScanRequest, set: &EntitySet| {
            let definition =
                Definition::from_text(&Definition::of(set, Surface::GenericInquiry).to_text()).unwrap();
            definition.fit(request).map(Cow::into_owned)
        };
        let error = fitted(&request, &with_parameters).unwrap_err();
        assert!(error.detail.unwrap().contains("Site, Day") && error.hint.is_some());
        assert!(fitted(&request, &set(&[], &[], &["Item"])).is_ok());
        request.parameters = vec![Parameter { name: "Site".into(), column: None, required: true }];
        let called = fitted(&request, &with_parameters).unwrap();
        assert_eq!(called.target.function.as_deref(), Some("X_WithParameters"));
        let shared = EntitySet { function: None, ..with_parameters };
        assert_eq!(fitted(&request, &shared).unwrap_err().kind, ErrorKind::Definition);
        // Where the definition says nothing, the table decides.
        assert!(fitted(&request, &EntitySet::default()).is_ok());
    }

    #[test]
    fn issue_3_4_conditions_on_appended_keys_stay_here() {
        let set = set(&[], &["Item", "NoteID"], &["Item", "Qty", "NoteID"]);
        let definition = Definition::of(&set, Surface::GenericInquiry);
        let sent = |filter: Filter| {
            let request = ScanRequest { filter: Some(filter), ..inquiry() };
            definition.fit(&request).unwrap().filter.as_ref().map(Filter::paths)
        };
        let on = |field: &str| equal(field, "1");
        assert_eq!(sent(on("NoteID")), None);
        assert_eq!(sent(Filter::And(vec![on("NoteID"), on("Item")])), Some(vec!["Item".to_owned()]));
        assert_eq!(sent(Filter::Or(vec![on("NoteID"), on("Item")])), None);
        let Filter::Test(field, test) = on("NoteID") else { panic!() };
        let vouched = Filter::Test(acumatica_pushdown::Field { vouched: true, ..field }, test);
        assert_eq!(sent(vouched), Some(vec!["NoteID".to_owned()]));
        let count = ScanRequest { filter: Some(on("NoteID")), count: true, ..inquiry() };
        assert_eq!(definition.fit(&count).unwrap_err().kind, ErrorKind::RowsOnly);
        let order = vec![Order { field: "NoteID".into(), descending: false, nulls_apart: false }];
        let ordered = ScanRequest { order, ..inquiry() };
        assert_eq!(definition.fit(&ordered).unwrap_err().kind, ErrorKind::CannotOrder);
    }

    #[test]
    fn issue_3_8_a_class_by_another_name_is_read_as_its_definition_says() {
        let mut class = set(&[], &["A"], &["A", "B"]);
        class.properties[1].filterable = false;
        class.singleton = true;
        let mut request = ScanRequest { filter: Some(equal("B", "1")), ..inquiry() };
        request.target.surface = Surface::Dac;
        assert!(needs_definition(&request));
        let definition = Definition::of(&class, Surface::Dac);
        let fitted = definition.fit(&request).unwrap();
        assert_eq!((fitted.filter.is_none(), &fitted.unselectable[..]), (true, &["B".to_owned()][..]));
        assert!(fitted.target.singleton && !needs_definition(&fitted));
        request.target.name = "PX_Objects_AR_ARSetup".into();
        assert!(!needs_definition(&request));
    }

    #[test]
    fn issue_3_1_definitions_are_read_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inquiries = Inquiries::default();
        let read = std::cell::Cell::new(0);
        let find = |outcome: Result<Model>| {
            let ask = async || {
                read.set(read.get() + 1);
                outcome
            };
            runtime.block_on(inquiries.find("X", ask)).map_err(|error| error.kind)
        };
        // A failure of the connection is not remembered.
        let lost = || Err(Error::new(ErrorKind::SessionLost, "lost"));
        assert_eq!(find(lost()), Err(ErrorKind::SessionLost));
        let model = Model { sets: vec![set(&["Site"], &[], &[])], faults: Vec::new() };
        assert_eq!(find(Ok(model)).unwrap().parameters.len(), 1);
        assert_eq!(find(lost()).unwrap().parameters.len(), 1);
        assert_eq!(read.get(), 2);
    }
}
