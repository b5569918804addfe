//! The contract endpoints of an instance: `GET /entity`.

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// The version of the endpoint Default in old documents, for instances that do not list their endpoints.
pub const FALLBACK_VERSION: &str = "17.200.001";

/// Name and version of a contract endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Such as `Default`; the server ignores its case (docs/acumatica.md section 2.1).
    pub name: String,
    /// Such as `24.200.001`.
    pub version: String,
}

/// The answer to the request for the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The build of Acumatica, such as `25.093.0036`.
    pub build: Option<String>,
    pub endpoints: Vec<Endpoint>,
}

/// Reads the list: an object with the list; on older builds an array.
///
/// # Errors
/// It is neither. It must not count as an instance without a list, since the guessed version could be that of another
/// endpoint.
pub(crate) fn parse_list(body: &str) -> Result<Listed> {
    #[derive(Default, Deserialize)]
    struct Version {
        #[serde(rename = "acumaticaBuildVersion")]
        build: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Envelope {
            #[serde(default)]
            version: Option<Version>,
            endpoints: Vec<Endpoint>,
        },
        Bare(Vec<Endpoint>),
    }
    match serde_json::from_str(body.trim_start_matches('\u{feff}')) {
        Ok(List::Envelope { version, endpoints }) => {
            Ok(Listed { build: version.and_then(|version| version.build), endpoints })
        }
        Ok(List::Bare(endpoints)) => Ok(Listed { build: None, endpoints }),
        Err(_) => {
            let start: String = body.chars().take(60).collect();
            Err(Error::new(ErrorKind::Protocol, "could not read the list of endpoints that the instance sent")
                .detail(format!("It begins with: {start}"))
                .hint(
                    "Set the server option \"endpoint_version\": then it is not asked for. If it is a proxy that answers, check \
                     the option \"url\".",
                ))
        }
    }
}

/// The newest version of the endpoint by that name; case does not matter (docs/acumatica.md section 2).
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

/// Versions are compared as numbers: 9.200.001 is older than 24.200.001.
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
        let (old, new) = (parse_list(bare).unwrap(), parse_list(&envelope).unwrap());
        assert_eq!(old.endpoints, new.endpoints);
        assert_eq!((old.endpoints.len(), old.build), (1, None));
        assert_eq!(new.build.as_deref(), Some("25.093.0036"));
    }

    #[test]
    fn issue_4_2_a_byte_order_mark_before_the_list_is_skipped_and_what_is_no_list_is_an_error() {
        let list = r#"{"version":{"acumaticaBuildVersion":"26.101.0225","databaseVersion":"26.101.0225"},
            "endpoints":[{"name":"Default","version":"25.200.001","href":"http://host/entity/Default/25.200.001/"}]}"#;
        assert_eq!(parse_list(&format!("\u{feff}{list}")).unwrap(), parse_list(list).unwrap());
        assert_eq!(parse_list(list).unwrap().endpoints[0].version, "25.200.001");
        for other in ["<html>", "", "{}", "{\"endpoints\":[{\"name\":\"Default\"}]}", "\u{feff}"] {
            let error = parse_list(other).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol, "{other}");
            assert!(error.hint.unwrap().contains("endpoint_version"));
        }
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
