//! Answers, and the shapes of Acumatica's errors (docs/acumatica.md §5).

use serde_json::json;

use crate::data::calendar::civil;

/// A `Source` collects rows up to about this many bytes before they are sent.
pub const CHUNK: usize = 64 << 10;

/// Produces the body of a long answer piece by piece, so that memory stays flat.
pub trait Source: Send + Sync {
    /// Appends to `out`: at most `max_rows` rows. Says how many rows were written, or that there is no more.
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled;
}

pub enum Filled {
    Rows(usize),
    Done,
}

pub enum Body {
    Full(Vec<u8>),
    Rows(Box<dyn Source>),
}

/// In the manner of the recorded ones.
const STACK: &str = "   at PX.Api.ContractBased.EntityService.GetList(ISystemContract systemContract, String version, String name)\r\n   at System.Web.Http.Controllers.ReflectedHttpActionDescriptor.ExecuteAsync(HttpControllerContext controllerContext)";

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: vec![("content-type", content_type.to_string())],
            body: Body::Full(body.into()),
        }
    }

    pub fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Full(Vec::new()) }
    }

    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply::new(status, "application/json; charset=utf-8", value.to_string())
    }

    pub fn html(status: u16, body: &str) -> Reply {
        Reply::new(status, "text/html", body)
    }

    pub fn stream(content_type: &str, source: Box<dyn Source>) -> Reply {
        Reply {
            status: 200,
            headers: vec![("content-type", content_type.to_string())],
            body: Body::Rows(source),
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The one shape of nearly every failure.
    pub fn exception(status: u16, exception_type: &str, message: &str) -> Reply {
        // The members stand in this order (docs/acumatica.md §5, HTE and JET).
        let body = format!(
            "{{\"message\":\"An error has occurred.\",\"exceptionMessage\":{},\"exceptionType\":{},\"stackTrace\":{}}}",
            json!(message),
            json!(exception_type),
            json!(STACK)
        );
        Reply::new(status, "application/json; charset=utf-8", body)
    }

    /// It does not say which (docs/acumatica.md §2.2, FG and HB).
    pub fn unknown_field() -> Reply {
        let message = "The given key was not present in the dictionary.";
        Reply::exception(500, "System.Collections.Generic.KeyNotFoundException", message)
    }

    /// `message` alone: 403 and what the parser of inquiries refuses (docs/acumatica.md §5, FOC and HB).
    pub fn message(status: u16, message: &str) -> Reply {
        Reply::json(status, &json!({ "message": message }))
    }

    /// A record that is not there (docs/acumatica.md §5).
    pub fn no_entity() -> Reply {
        Reply::exception(
            500,
            "PX.Api.ContractBased.NoEntitySatisfiesTheConditionException",
            "No entity satisfies the condition.",
        )
    }

    /// Fields with their reasons; paths are written with a dot (docs/acumatica.md §2.2, HTE).
    pub fn cannot_optimize(fields: &[String]) -> Reply {
        let lines: String = fields.iter().map(|f| format!("{f}\r\n")).collect();
        let message =
            format!("Optimization cannot be performed.The following fields cause the error:\r\n{lines}");
        Reply::exception(500, "PX.Api.ContractBased.OptimizedExport.CannotOptimizeException", &message)
    }

    pub fn insufficient_rights(form: &str) -> Reply {
        Reply::message(403, &format!("You have insufficient rights to access the {form} form."))
    }

    pub fn not_found_json(what: &str) -> Reply {
        Reply::message(404, &format!("No HTTP resource was found that matches the request: {what}."))
    }

    /// What IIS answers for a URL that no handler knows.
    pub fn not_found_html() -> Reply {
        Reply::html(
            404,
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\">\n<html><head>\
             <title>404 - File or directory not found.</title></head>\n<body><h1>Server Error</h1>\
             <h2>404 - File or directory not found.</h2><h3>The resource you are looking for might have been removed, \
             had its name changed, or is temporarily unavailable.</h3></body></html>\n",
        )
    }

    /// Without a body (docs/acumatica.md §5, CEG and HB).
    pub fn unauthorized() -> Reply {
        Reply::empty(401)
    }

    /// No seat for a call that brings its own credentials: a redirect to a page (docs/acumatica.md §5).
    pub fn no_seat(site: &str) -> Reply {
        let target = format!(
            "{site}/Frames/Error.aspx?typeID=error&errorcode=403&message=The+number+of+concurrent+API+logins+for+this+\
             license+has+been+reached."
        );
        let page =
            format!("<html><body><h2>Object moved to <a href=\"{target}\">here</a>.</h2></body></html>");
        Reply::html(302, &page).header("location", target)
    }
}

/// The `Date` header for a time in seconds since 1970, which is kept within the years 1970 to 9999.
pub fn http_date(seconds: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = seconds.clamp(0, 253_402_300_799);
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day_of_month) = civil(day);
    format!(
        "{}, {day_of_month:02} {} {year} {:02}:{:02}:{:02} GMT",
        WEEKDAYS[(day % 7) as usize],
        MONTHS[month as usize - 1],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn dates_as_the_rfc_has_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
