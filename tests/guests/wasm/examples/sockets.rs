//! A stage that connects to the network: it imports `wasi:sockets`, which is not granted.

wit_bindgen::generate!({ path: "../../../guest-sdk/wit", world: "stage" });

use bulkhead::stage::types::{Batch, Config, Outcome};
use exports::bulkhead::stage::processor::Guest;

struct Component;

impl Guest for Component {
    fn init(_: Config) -> Result<(), String> {
        std::net::TcpStream::connect("127.0.0.1:9092").map(drop).map_err(|error| error.to_string())
    }

    fn process(_: Batch) -> Outcome {
        unreachable!()
    }
}

export!(Component);

fn main() {}
