//! What the simulator can be told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

/// Acumatica releases differ in URL layout, dialects and endpoint versions (docs/acumatica.md §1, §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Release {
    #[value(name = "2023R2")]
    R2023R2,
    #[value(name = "2024R2")]
    R2024R2,
    #[value(name = "2026R1")]
    R2026R1,
    #[value(name = "2026R2")]
    R2026R2,
}

impl Release {
    /// The versions of the Default endpoint.
    pub fn endpoint_versions(self) -> &'static [&'static str] {
        match self {
            Release::R2023R2 => &["20.200.001", "22.200.001", "23.200.001"],
            Release::R2024R2 => &["20.200.001", "22.200.001", "23.200.001", "24.200.001"],
            Release::R2026R1 => &["20.200.001", "22.200.001", "23.200.001", "24.200.001", "25.200.001"],
            Release::R2026R2 => &["22.200.001", "23.200.001", "24.200.001", "25.200.001", "26.200.001"],
        }
    }

    pub fn build(self) -> &'static str {
        match self {
            Release::R2023R2 => "23.210.0042",
            Release::R2024R2 => "24.211.0012",
            Release::R2026R1 => "26.101.0029",
            Release::R2026R2 => "26.200.0055",
        }
    }

    /// Before 2024 R2: generic inquiries in OData v3, other URLs, a bare endpoint list, Swagger 2.0.
    pub fn is_old(self) -> bool {
        self < Release::R2024R2
    }
}

/// What a site makes of the fields of features that are switched off: tables.txt marks them with `!off`, of an
/// endpoint made from a definition one in seven is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SwitchedOff {
    /// All features are on: every row has every field
    Shown,
    /// No row has them; $select of one does nothing, $filter sees no value
    Absent,
    /// No row has them; $select or $filter of one is answered as one of an unknown field
    Refused,
}

/// Ids of records without NoteID, of inquiry results and of detail rows without NoteID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ids {
    /// The same for ever
    Stable,
    /// They live as long as the session
    Session,
    /// Each answer has others
    Answer,
}

/// What $adHocSchema lists under `custom`, and $custom knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Forms {
    /// Every field of the form that the contract lacks, as recorded (docs/acumatica.md section 2.1, HTE)
    Whole,
    /// The fields of customizations alone
    Customized,
}

/// What the plain set of an inquiry with parameters answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BareSet {
    /// No rows, and no error
    Empty,
    /// The rows of the parameters' defaults (the value of the first row), and no error
    Defaults,
}

/// What OData v4 makes of `in`. No source tells what Acumatica does; the libraries that read conditions differ by release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListOperator {
    /// The rows whose field is one of the values
    Right,
    /// A syntax error
    Refused,
    /// The condition is left out, as Business Central did (github.com/microsoft/ALAppExtensions/issues/25734)
    Ignored,
    /// The rows whose field is the first of the values
    First,
}

#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Tenants (login names of companies), separated by commas or repeated; the first is the default
    #[arg(long = "tenant", default_value = "Company", value_delimiter = ',')]
    pub tenants: Vec<String>,
    /// Size of the data set: 1 is 1,000 customers, 2,000 items, 20,000 orders with 60,000 lines
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// API sessions of the licence; 0 is unlimited
    #[arg(long, default_value_t = 2)]
    pub seats: usize,
    /// Wait before each answer
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Wait per row sent
    #[arg(long, default_value_t = 0)]
    pub row_latency_us: u64,
    /// Requests a minute; past half of it answers are delayed, past it they are 429. 0 is off
    #[arg(long, default_value_t = 0)]
    pub quota: usize,
    /// Requests at the same time; more wait, past 20 waiting they are 429. 0 is off
    #[arg(long, default_value_t = 0)]
    pub concurrency: usize,
    /// Retry-After of a 429 in seconds; without it there is none
    #[arg(long)]
    pub retry_after: Option<u64>,
    #[arg(long, value_enum, default_value = "2024R2")]
    pub release: Release,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Virtual directory of the site, such as /Site
    #[arg(long, default_value = "")]
    pub site: String,
    /// Users and passwords, name:password
    #[arg(long, default_value = "admin:secret,analyst:secret2", value_delimiter = ',')]
    pub users: Vec<String>,
    /// Seconds without a request after which a session closes
    #[arg(long, default_value_t = 600.0)]
    pub session_idle: f64,
    /// Status of a cookie login without a free seat (its body always says "API Login Limit")
    #[arg(long, default_value_t = 500)]
    pub login_limit_status: u16,
    /// Rows a generic inquiry or DAC answers before it gives a next link; 0 is off
    #[arg(long, default_value_t = 0)]
    pub gi_page_size: u64,
    /// Connected applications, client_id:secret (an empty secret: a public client, PKCE required)
    #[arg(
        long,
        default_value = "00000000-0000-0000-0000-000000000001@Company:client-secret",
        value_delimiter = ','
    )]
    pub clients: Vec<String>,
    /// Life of an OAuth access token in seconds
    #[arg(long, default_value_t = 3600.0)]
    pub token_seconds: f64,
    /// Life of an OAuth refresh token in seconds, counted from its issue
    #[arg(long, default_value_t = 2_592_000.0)]
    pub refresh_seconds: f64,
    /// Seconds by which the server's clock is ahead (negative: behind), as the Date header of every answer shows
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub clock_offset: i64,
    /// Adds this many types without rows to the DAC metadata: 2245 make it as long as that of a real site, some
    /// 20 MB with 42,000 properties. Their sets are PX_Objects_Filler_FillerType0001 or FillerType0001
    #[arg(long, default_value_t = 0)]
    pub dac_filler: usize,
    /// Serves one more contract endpoint, made from this endpoint definition (a swagger.json); repeatable. It takes
    /// the place of a bundled endpoint of the same name and version
    #[arg(long = "definition", value_name = "FILE")]
    pub definitions: Vec<PathBuf>,
    /// Serves each CSV file of this folder as a generic inquiry named after the file; it takes the place of a bundled
    /// one. The first line names the columns and their kinds, such as *Nbr:int,Customer,Due:date. Those with * are the
    /// key, which may be missing. Kinds: text (the default), int, short, long, byte, decimal, double, bool, date,
    /// timestamp (2024-12-31T17:20:45.16Z), guid. An empty field is no value, "" an empty text
    #[arg(long, value_name = "DIR")]
    pub tables: Option<PathBuf>,
    /// Rows of each entity of those endpoints
    #[arg(long, default_value_t = 25)]
    pub definition_rows: u64,
    /// The site is not hosted: where there is one tenant, no cookie CompanyID tells which
    #[arg(long)]
    pub local: bool,
    /// Time zone of the site, an IANA name: dates and times of contract REST carry its offset, a pure date is its
    /// midnight
    #[arg(long, default_value = "America/New_York")]
    pub time_zone: String,
    /// Fields of features that are switched off
    #[arg(long, value_enum, default_value = "absent")]
    pub switched_off: SwitchedOff,
    /// Ids of records and rows that have no NoteID
    #[arg(long, value_enum, default_value = "answer")]
    pub ids: Ids,
    /// What the plain set of an inquiry with parameters answers
    #[arg(long, value_enum, default_value = "empty")]
    pub bare_set: BareSet,
    /// Entities of contract 4 that answer [] to a list with a condition on a field that is no key, such as
    /// PurchaseOrder,Shipment
    #[arg(long, value_delimiter = ',')]
    pub deaf: Vec<String>,
    /// Fields of a form that $adHocSchema lists
    #[arg(long, value_enum, default_value = "whole")]
    pub forms: Forms,
    /// Characters of a query past which the answer is the 404 of IIS (404.15), whose default this is. 0 is off
    #[arg(long, default_value_t = 2048)]
    pub longest_query: usize,
    /// What OData v4 makes of `in`
    #[arg(long, value_enum, default_value = "right")]
    pub list_operator: ListOperator,
    /// Size of each attachment; without it an attachment is one sentence
    #[arg(long)]
    pub file_bytes: Option<u64>,
}

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    config: Config,
}

impl Default for Config {
    fn default() -> Config {
        Defaults::parse_from(["acumatica-sim"]).config
    }
}

impl Config {
    /// The virtual directory with a slash in front and none behind, or nothing.
    pub fn site(&self) -> String {
        match self.site.trim_matches('/') {
            "" => String::new(),
            site => format!("/{site}"),
        }
    }

    pub fn idle(&self) -> Duration {
        Duration::from_secs_f64(self.session_idle)
    }
}
