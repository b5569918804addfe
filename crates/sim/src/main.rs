//! `acumatica-sim`: serves the simulator, or prints its data set as ground truth for tests.

#![forbid(unsafe_code)]

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use acumatica_sim::{Config, Simulator};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "acumatica-sim", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT (the default)
    Serve(Config),
    /// Prints the rows of a surface as CSV for COPY: gi/NAME, rest/ENTITY, rest/ENTITY/DETAIL or dac/NAME
    Dump(Dump),
    /// Prints the names of all surfaces and their numbers of rows
    List(Config),
}

#[derive(Args)]
struct Dump {
    name: String,
    /// Fields, in order: A,B,Address/City; for a detail also Parent/OrderNbr
    #[arg(long, value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    config: Config,
}

fn serve(config: Config) -> Result<(), String> {
    // Signals first: whoever reads the line below may send one at once.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        let simulator = Simulator::try_start(config).map_err(|e| e.to_string())?;
        println!("listening on {}", simulator.url());
        std::io::stdout().flush().map_err(|e| e.to_string())?;
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = match cli.command {
        None => {
            drop(out);
            serve(cli.config)
        }
        Some(Command::Serve(config)) => {
            drop(out);
            serve(config)
        }
        Some(Command::Dump(dump)) => acumatica_sim::dump(&dump.config, &dump.name, &dump.fields, &mut out),
        Some(Command::List(config)) => acumatica_sim::list(&config, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `dump … | head` has seen enough.
        Err(message) if message.contains("Broken pipe") => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("acumatica-sim: {message}");
            ExitCode::FAILURE
        }
    }
}
