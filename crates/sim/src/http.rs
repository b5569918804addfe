//! The HTTP side: from hyper's request to ours, and our answers to the wire, with latency, gzip and body faults.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;

use crate::data::rng::salt_of;
use crate::faults::{Cut, Interruption, Plan};
use crate::log::Entry;
use crate::reply::{Body, CHUNK, Filled, Reply, Source, http_date};
use crate::request::Request;
use crate::state::State;
use crate::{control, headers, identity, routes};

/// The connection is to be closed without a word.
#[derive(Debug)]
pub struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by a fault")
    }
}

impl std::error::Error for Abort {}

/// The body hyper sends: chunks from the task that makes them.
pub struct Chunks {
    queue: mpsc::Receiver<Result<Bytes, Abort>>,
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.queue.poll_recv(context).map(|chunk| chunk.map(|c| c.map(Frame::data)))
    }
}

pub async fn handle(
    state: Arc<State>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Chunks>, Abort> {
    let start = Instant::now();
    let request = Request::read(&state.config, request).await.ok_or(Abort)?;
    if request.segments.first().is_some_and(|s| s == "__sim") {
        let reply = control::answer(&state, &request);
        return Ok(send(
            &state,
            reply,
            &Plan::default(),
            Sending { n: None, start, gzip: false, turn: 1, pause: Duration::ZERO },
        ));
    }
    let query = percent_decode_str(&request.raw_query.replace('+', " ")).decode_utf8_lossy().into_owned();
    let decoded = format!("{}?{query}", request.path);
    let raw = format!("{}?{}", request.raw_path, request.raw_query);
    let mut plan = state.faults.plan(&state.config.site(), &request.method, &[&decoded, &raw]);
    let n = state.log.begin(Entry {
        method: request.method.clone(),
        path: request.path.clone(),
        query,
        raw_query: request.raw_query.clone(),
        headers: headers::logged(&request),
        bearer: request.bearer().is_some(),
        grant_type: identity::grant_type(&request),
        ..Entry::default()
    });
    let reply = match state.limits.admit(&state.config).await {
        Ok(_permit) => {
            wait(Duration::from_millis(state.config.latency_ms)).await;
            match interrupt(&mut plan.before).await? {
                Some(reply) => reply,
                None => {
                    let reply = routes::answer(&state, &request, &plan, n).await;
                    interrupt(&mut plan.after).await?.unwrap_or(reply)
                }
            }
        }
        Err(refused) => refused,
    };
    let gzip = request.header("accept-encoding").is_some_and(|v| v.contains("gzip"));
    let pause = Duration::from_micros(state.config.row_latency_us);
    Ok(send(&state, reply, &plan, Sending { n: Some(n), start, gzip, turn: salt_of(&[&raw]), pause }))
}

/// Waits, closes or answers as the faults of one moment say.
async fn interrupt(fault: &mut Interruption) -> Result<Option<Reply>, Abort> {
    wait(fault.delay).await;
    if fault.close { Err(Abort) } else { Ok(fault.reply.take()) }
}

/// Even a sleep of nothing costs a tick of the timer, a millisecond.
async fn wait(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

struct Sending {
    /// The log entry.
    n: Option<u64>,
    start: Instant,
    gzip: bool,
    /// Decides what differs from answer to answer: the same request has the same.
    turn: u64,
    /// Per row.
    pause: Duration,
}

fn send(state: &Arc<State>, reply: Reply, plan: &Plan, sending: Sending) -> hyper::Response<Chunks> {
    let (sender, queue) = mpsc::channel(2);
    let Reply { status, headers, body } = reply;
    let mut response = hyper::Response::builder().status(status);
    for (name, value) in &headers {
        response = response.header(*name, value.as_bytes());
    }
    // Nearly every recorded answer has it (docs/acumatica.md §5, HTE).
    if sending.n.is_some() && !headers.iter().any(|(name, _)| *name == "cache-control") {
        response = response.header("cache-control", "private");
    }
    if !headers.iter().any(|(name, _)| *name == "date") {
        response = response.header("date", http_date(state.now()));
    }
    let undisturbed = plan.cut.is_none() && !plan.bad_length && sending.pause.is_zero();
    let body = if undisturbed { short(body, &headers) } else { body };
    let length = match &body {
        Body::Full(bytes) => Some(bytes.len()),
        Body::Rows(_) => None,
    };
    // Large answers are compressed, small ones sometimes, and Vary says so only sometimes (HTE).
    let turn = sending.turn;
    let gzip = sending.gzip && length.is_none_or(|l| l > 1400 || l > 100 && turn.is_multiple_of(3));
    if gzip {
        response = response.header("content-encoding", "gzip");
    }
    if gzip && turn.is_multiple_of(2) {
        response = response.header("vary", "Accept-Encoding");
    }
    let (body, length, packed) = match body {
        Body::Full(bytes) if gzip && undisturbed => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            // Writing to memory cannot fail.
            let _ = gzip.write_all(&bytes);
            let bytes = gzip.finish().unwrap_or_default();
            let length = bytes.len();
            (Body::Full(bytes), Some(length), true)
        }
        body => (body, length, false),
    };
    let mut writer = BodyWriter {
        state: state.clone(),
        sender,
        gzip: (gzip && !packed).then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        n: sending.n,
        start: sending.start,
        cut: plan.cut,
        plain: 0,
    };
    if plan.bad_length {
        // The length of a stream is not known: any number that is never reached will do.
        let promised = length.map_or(1 << 40, |l| l + 1000);
        response = response.header("content-length", promised);
    } else if let (Some(length), true, None | Some((_, Cut::Stall(_)))) = (length, packed || !gzip, plan.cut)
    {
        response = response.header("content-length", length);
    }
    if let Some(n) = sending.n {
        state.log.update(n, |e| e.status = status);
    }
    tokio::spawn(async move {
        // Fails when the client has gone; then there is nothing left to do.
        let _ = writer.run(body, sending.pause).await;
    });
    // Only a header that a test made up can be invalid.
    response.body(Chunks { queue }).unwrap_or_else(|_| {
        let (_, queue) = mpsc::channel(1);
        let mut broken = hyper::Response::new(Chunks { queue });
        *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

/// Answers of contract REST and of classes have a Content-Length, those of inquiries are chunked (HTE): here as far as
/// they fit in one piece.
fn short(body: Body, headers: &[(&'static str, String)]) -> Body {
    let inquiry = |value: &str| value == "application/json" || value.contains("streaming");
    let mut source = match body {
        Body::Rows(source)
            if !headers.iter().any(|(name, value)| *name == "content-type" && inquiry(value)) =>
        {
            source
        }
        body => return body,
    };
    let mut start = Vec::new();
    loop {
        match source.fill(&mut start, usize::MAX) {
            Filled::Done => return Body::Full(start),
            // A filter that finds nothing would hold up the other requests.
            Filled::Rows(0) => break,
            Filled::Rows(_) if start.len() >= CHUNK => break,
            Filled::Rows(_) => {}
        }
    }
    Body::Rows(Box::new(Behind { start, source }))
}

/// What was made already, then the rest.
struct Behind {
    start: Vec<u8>,
    source: Box<dyn Source>,
}

impl Source for Behind {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        if !self.start.is_empty() {
            out.append(&mut self.start);
            return Filled::Rows(0);
        }
        self.source.fill(out, max_rows)
    }
}

/// Passes the body on, piece by piece.
struct BodyWriter {
    state: Arc<State>,
    sender: mpsc::Sender<Result<Bytes, Abort>>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    n: Option<u64>,
    start: Instant,
    cut: Option<(u64, Cut)>,
    /// Bytes passed on, before compression: cuts count these.
    plain: u64,
}

/// The body is over, for whatever reason.
struct Over;

impl BodyWriter {
    async fn run(&mut self, body: Body, pause: Duration) -> Result<(), Over> {
        match body {
            Body::Full(bytes) => self.pass(bytes).await?,
            Body::Rows(mut source) => loop {
                let mut chunk = Vec::with_capacity(CHUNK + (4 << 10));
                let most = if pause.is_zero() {
                    usize::MAX
                } else {
                    (2_000_000 / pause.as_nanos().max(1)).max(1) as usize
                };
                let filled = source.fill(&mut chunk, most);
                if let Filled::Rows(rows) = filled {
                    wait(pause * rows as u32).await;
                }
                if !chunk.is_empty() {
                    self.pass(chunk).await?;
                }
                match filled {
                    Filled::Done => break,
                    // A filter that finds nothing must not hold up the other requests.
                    Filled::Rows(_) => tokio::task::yield_now().await,
                }
            },
        }
        self.finish().await
    }

    /// One piece of the plain body, with the cut in it if this is where it falls.
    async fn pass(&mut self, mut bytes: Vec<u8>) -> Result<(), Over> {
        if let Some((at, cut)) = self.cut
            && self.plain + bytes.len() as u64 >= at
        {
            let rest = bytes.split_off((at - self.plain) as usize);
            self.cut = None;
            self.encode(bytes, true).await?;
            match cut {
                Cut::End => {
                    self.finish().await?;
                    return Err(Over);
                }
                Cut::Close => {
                    self.log(true);
                    let _ = self.sender.send(Err(Abort)).await;
                    return Err(Over);
                }
                Cut::Stall(pause) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.sender.closed() => return Err(Over),
                    }
                }
            }
            bytes = rest;
        }
        self.encode(bytes, false).await
    }

    async fn encode(&mut self, bytes: Vec<u8>, flush: bool) -> Result<(), Over> {
        self.plain += bytes.len() as u64;
        let out = match &mut self.gzip {
            None => bytes,
            Some(gzip) => {
                // Writing to memory cannot fail.
                let _ = gzip.write_all(&bytes);
                if flush {
                    let _ = gzip.flush();
                }
                std::mem::take(gzip.get_mut())
            }
        };
        self.push(out).await
    }

    async fn push(&mut self, out: Vec<u8>) -> Result<(), Over> {
        if out.is_empty() {
            return Ok(());
        }
        if let Some(n) = self.n {
            let ms = self.start.elapsed().as_millis() as u64;
            self.state.log.update(n, |e| {
                e.bytes += out.len() as u64;
                e.ms = ms;
            });
        }
        self.sender.send(Ok(Bytes::from(out))).await.map_err(|_| Over)
    }

    async fn finish(&mut self) -> Result<(), Over> {
        if let Some(gzip) = self.gzip.take() {
            let tail = gzip.finish().unwrap_or_default();
            self.push(tail).await?;
        }
        self.log(true);
        Ok(())
    }

    fn log(&self, done: bool) {
        if let Some(n) = self.n {
            let ms = self.start.elapsed().as_millis() as u64;
            self.state.log.update(n, |e| {
                e.ms = ms;
                e.done = done;
            });
        }
    }
}

/// Serves one connection until it closes or the simulator stops.
pub async fn connection(state: Arc<State>, stream: tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| handle(state.clone(), request));
    let io = hyper_util::rt::TokioIo::new(stream);
    // Errors here are clients that hang up and faults that close.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

/// Accepts connections for ever.
pub async fn accept(state: Arc<State>, listener: tokio::net::TcpListener) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(state.clone(), stream))),
            // Out of file descriptors, most likely: give the others time to close.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
