//! Calls the host at a bad record with what no compiler would pass: pointers and lengths beyond its memory, texts that are none, a level that
//! there is not, handles that it was never given.

use crate::{Batch, Guest, Outcome};
use wasip2::clocks::monotonic_clock::Pollable;
use wasip2::io::streams::OutputStream;

pub const GUEST: Guest = Guest::new(process);

#[link(wasm_import_module = "bulkhead:stage/host@0.1.0")]
unsafe extern "C" {
    #[link_name = "log"]
    fn log(level: i32, start: usize, bytes: usize);
}

/// A handle that nobody gave.
const MADE_UP: u32 = 77;

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| {
        let no_text = [0xff_u8; 4];
        // Nothing of this is sound, and that is the point: the host must not believe it.
        unsafe {
            match value {
                b"!pointer" => log(2, usize::MAX - 7, 4),
                b"!length" => log(2, 8, usize::MAX),
                b"!wraps" => log(2, usize::MAX - 3, 8),
                b"!level" => log(99, 8, 4),
                b"!text" => log(2, no_text.as_ptr() as usize, no_text.len()),
                b"!handle" => Pollable::from_handle(MADE_UP).block(),
                b"!drop" => drop(Pollable::from_handle(MADE_UP)),
                b"!other-kind" => {
                    let stream: OutputStream = wasip2::cli::stdout::get_stdout();
                    Pollable::from_handle(stream.take_handle()).block();
                }
                b"!twice" => {
                    let handle = wasip2::clocks::monotonic_clock::subscribe_duration(0).take_handle();
                    drop(Pollable::from_handle(handle));
                    drop(Pollable::from_handle(handle));
                }
                other => panic!("no call {}", String::from_utf8_lossy(other)),
            }
        }
    })
}
