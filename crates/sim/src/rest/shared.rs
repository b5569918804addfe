//! What the bundled endpoints and those made from definitions answer alike.

use crate::data::value::parse_guid;
use crate::reply::{CHUNK, Filled, Reply, Source};
use crate::request::Request;
use crate::state::State;

/// The number in a query option.
pub fn number(request: &Request, name: &str) -> Result<Option<u64>, Reply> {
    let bad = |t: &str| {
        Reply::exception(500, "System.FormatException", &format!("Invalid value '{t}' for {name}."))
    };
    request.option(name).map(|t| t.parse().map_err(|_| bad(t))).transpose()
}

pub fn read_only() -> Reply {
    let message = "The requested resource does not support this method: the simulator is read only.";
    Reply::exception(405, "System.NotSupportedException", message)
}

/// What an inquiry form answers to a GET.
pub fn form_by_get() -> Reply {
    let message = "The inquiry form cannot be read by GET: View Filter has no records.";
    Reply::exception(500, "PX.Api.ContractBased.OptimizedExport.CannotOptimizeException", message)
}

/// The content of an attachment: a sentence that names it, or as many bytes as the configuration says.
pub fn file(state: &State, request: &Request, id: &str) -> Reply {
    if parse_guid(id).is_none() || request.method != "GET" {
        return Reply::not_found_json(&request.path);
    }
    let content = "application/octet-stream";
    let sentence = format!("This is the content of file {id}.\n");
    let reply = match state.config.file_bytes {
        None => Reply::new(200, content, sentence),
        Some(left) => Reply::stream(content, Box::new(Content { sentence, left })),
    };
    reply.header("content-disposition", "attachment; filename=\"spec.pdf\"")
}

/// The sentence over and over.
struct Content {
    sentence: String,
    left: u64,
}

impl Source for Content {
    fn fill(&mut self, out: &mut Vec<u8>, _: usize) -> Filled {
        while self.left > 0 && out.len() < CHUNK {
            let part = self.sentence.as_bytes();
            let part = &part[..part.len().min(self.left.try_into().unwrap_or(usize::MAX))];
            out.extend_from_slice(part);
            self.left -= part.len() as u64;
        }
        if self.left == 0 { Filled::Done } else { Filled::Rows(0) }
    }
}
