//! The contract endpoints of an instance: `GET /entity`.

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// What old documents call the default, for instances that do not list their endpoints.
pub const FALLBACK_VERSION: &str = "17.200.001";

/// Name and version of a contract endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    pub name: String,
    pub version: String,
}

/// Reads the list: an envelope, on older builds the bare array. Empty if it is neither.
pub(crate) fn parse_list(body: &str) -> Vec<Endpoint> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Envelope { endpoints: Vec<Endpoint> },
        Bare(Vec<Endpoint>),
    }
    match serde_json::from_str(body) {
        Ok(List::Envelope { endpoints } | List::Bare(endpoints)) => endpoints,
        Err(_) => Vec::new(),
    }
}

/// The newest version of the endpoint by that name; case does not matter (acumatica-api.md section 2).
///
/// # Errors
/// None has the name; the detail lists those that exist.
pub(crate) fn newest<'a>(endpoints: &'a [Endpoint], name: &str) -> Result<&'a Endpoint> {
    endpoints
        .iter()
        .filter(|e| e.name.eq_ignore_ascii_case(name))
        .max_by_key(|e| version_key(&e.version))
        .ok_or_else(|| {
            let mut names: Vec<_> = endpoints.iter().map(|e| e.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            Error::new(ErrorKind::NotFound, format!("the instance has no endpoint \"{name}\""))
                .detail(format!("It lists: {}.", names.join(", ")))
                .hint("Set the option \"endpoint_name\" to one of them.")
        })
}

/// Versions compare by number, not by letter: 9.200.001 is older than 24.200.001.
fn version_key(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_list() {
        let bare = r#"[{"name":"Default","version":"24.200.001","href":"/x/"}]"#;
        let envelope =
            format!(r#"{{"version":{{"acumaticaBuildVersion":"25.093.0036"}},"endpoints":{bare}}}"#);
        assert_eq!(parse_list(bare), parse_list(&envelope));
        assert_eq!(parse_list(bare).len(), 1);
        assert!(parse_list("<html>").is_empty());
    }

    #[test]
    fn the_newest_by_number_and_names_without_case() {
        let list: Vec<Endpoint> =
            [("Default", "9.200.001"), ("default", "24.200.001"), ("eCommerce", "25.200.001")]
                .map(|(name, version)| Endpoint { name: name.into(), version: version.into() })
                .into();
        assert_eq!(newest(&list, "DEFAULT").unwrap().version, "24.200.001");
        let error = newest(&list, "Defualt").unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.detail.unwrap().contains("eCommerce"));
    }
}
