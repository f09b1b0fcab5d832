//! Returns, in place of each record, what it can see of the world around it: random numbers, clocks, and what it should not find.

use crate::{Batch, Guest, Outcome};
use std::collections::HashMap;
use std::time::{Instant, SystemTime};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, value, outcome| {
        let text = match value {
            b"!random" => {
                let order: HashMap<u32, ()> = (0..20).map(|i| (i, ())).collect();
                format!("{} {:?}", wasip2::random::random::get_random_u64(), order.keys().collect::<Vec<_>>())
            }
            b"!wall" => format!("{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()),
            b"!monotonic" => format!("{}", wasip2::clocks::monotonic_clock::now()),
            b"!waits" => {
                let start = Instant::now();
                let mut reads = 0;
                while start.elapsed().as_millis() < 50 {
                    reads += 1;
                }
                format!("{reads}")
            }
            b"!environment" => format!(
                "{} variables, {} arguments, {} folders, / {}",
                std::env::vars().count(),
                std::env::args().count(),
                wasip2::filesystem::preopens::get_directories().len(),
                if std::fs::read_dir("/").is_ok() { "open" } else { "closed" },
            ),
            other => panic!("no question {}", String::from_utf8_lossy(other)),
        };
        outcome.outputs.push(i, 0, text.as_bytes());
    })
}
