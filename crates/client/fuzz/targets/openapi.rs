#![no_main]

use acumatica_client::fuzzing;
use acumatica_client_fuzz::bounded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bounded(data, fuzzing::openapi));
