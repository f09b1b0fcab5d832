//! Does with its scratch files what each record says, and puts out what came of it.

use crate::{Batch, Guest, Outcome};
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip2::io::streams::{OutputStream, StreamError};

pub const GUEST: Guest = Guest::new(process);

thread_local! {
    static HELD: RefCell<Vec<File>> = const { RefCell::new(vec![]) };
    static STREAMS: RefCell<Vec<OutputStream>> = const { RefCell::new(vec![]) };
}

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, value, outcome| {
        let text = std::str::from_utf8(&value[1..]).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let said = match words[0] {
            "trap" => panic!("as it was told"),
            "raw" => raw(&words[1..]).unwrap_or_else(|code| code.name().to_owned()),
            "many" => many(words[1], number(2)),
            "opens" => opens(words[1], number(2)),
            _ => plain(&words).unwrap_or_else(|error| told(&error)),
        };
        outcome.outputs.push(i, 0, said.as_bytes());
    })
}

/// The kind of an error. That of a full folder has none here, and the C library calls every failure of a stream an I/O error.
fn told(error: &io::Error) -> String {
    const EIO: i32 = 29;
    const ENOSPC: i32 = 51;
    match error.raw_os_error() {
        Some(ENOSPC | EIO) => "full".to_owned(),
        _ => format!("{:?}", error.kind()),
    }
}

/// What any program does, by the standard library.
fn plain(words: &[&str]) -> io::Result<String> {
    let path = words.get(1).copied().unwrap_or_default();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let done = || Ok("done".to_owned());
    match words[0] {
        "write" => fs::write(path, words[2]).and_then(|()| done()),
        "fill" => fill(&mut File::create(path)?, number(2)).and_then(|()| done()),
        "over" => fill(&mut OpenOptions::new().write(true).open(path)?, number(2)).and_then(|()| done()),
        "append" => fill(&mut OpenOptions::new().append(true).create(true).open(path)?, number(2)).and_then(|()| done()),
        "beyond" => {
            let mut file = File::create(path)?;
            file.seek(SeekFrom::Start(number(2)))?;
            file.write_all(b"x").and_then(|()| done())
        }
        "len" => {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            file.set_len(number(2)).and_then(|()| done())
        }
        "read" => fs::read_to_string(path),
        "sum" => {
            let mut bytes = vec![];
            File::open(path)?.read_to_end(&mut bytes)?;
            Ok(format!("{} {}", bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>()))
        }
        "size" => Ok(fs::metadata(path)?.len().to_string()),
        "modified" => fs::metadata(path)?.modified().map(|time| format!("{time:?}")),
        "rename" => fs::rename(path, words[2]).and_then(|()| done()),
        "remove" => fs::remove_file(path).and_then(|()| done()),
        "mkdir" => fs::create_dir(path).and_then(|()| done()),
        "rmdir" => fs::remove_dir(path).and_then(|()| done()),
        "clear" => fs::remove_dir_all(path).and_then(|()| done()),
        "link" => fs::hard_link(path, words[2]).and_then(|()| done()),
        "list" => {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
            Ok(names.collect::<io::Result<Vec<String>>>()?.join(" "))
        }
        "hold" => {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            HELD.with_borrow_mut(|held| held.push(file));
            done()
        }
        "grow" => HELD.with_borrow_mut(|held| fill(held.last_mut().unwrap(), number(1))).and_then(|()| done()),
        "close" => {
            HELD.take();
            STREAMS.take();
            done()
        }
        other => panic!("no command {other}"),
    }
}

fn fill(file: &mut File, mut bytes: u64) -> io::Result<()> {
    let block = [1; 16 << 10];
    while bytes > 0 {
        let some = bytes.min(block.len() as u64);
        file.write_all(&block[..some as usize])?;
        bytes -= some;
    }
    file.flush()
}

/// Makes empty files until it may not.
fn many(path: &str, most: u64) -> String {
    let failed = (0..most).find_map(|i| File::create(format!("{path}/{i}")).err().map(|error| (i, error)));
    failed.map_or("all".to_owned(), |(made, error)| format!("{made} {}", told(&error)))
}

/// Opens a file until it may not, and holds on.
fn opens(path: &str, most: u64) -> String {
    for i in 0..most {
        match File::open(path) {
            Ok(file) => HELD.with_borrow_mut(|held| held.push(file)),
            Err(error) => return format!("{i} {}", told(&error)),
        }
    }
    "all".to_owned()
}

/// What the standard library does not do, or not so directly.
fn raw(words: &[&str]) -> Result<String, ErrorCode> {
    let mut folders = get_directories();
    if words[0] == "folders" {
        return Ok(folders.iter().map(|(_, path)| path.as_str()).collect::<Vec<_>>().join(" "));
    }
    let (root, _) = folders.remove(0);
    let (path, number) = (words[1], words.get(2).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0));
    let done = "done".to_owned();
    let open = |how, flags| root.open_at(PathFlags::empty(), path, how, flags);
    let file = || open(OpenFlags::CREATE, DescriptorFlags::READ | DescriptorFlags::WRITE);
    match words[0] {
        "open" => open(OpenFlags::empty(), DescriptorFlags::READ).map(|_| done),
        "create" => open(OpenFlags::CREATE, DescriptorFlags::READ).map(|_| done),
        "stat" => root.stat_at(PathFlags::SYMLINK_FOLLOW, path).map(|_| done),
        "symlink" => root.symlink_at(words[2], path).map(|()| done),
        "rename" => root.rename_at(path, &root, words[2]).map(|()| done),
        "mkdir" => root.create_directory_at(path).map(|()| done),
        "write" => file()?.write(b"x", number).map(|_| done),
        "unpaid" => {
            let read_only = open(OpenFlags::CREATE, DescriptorFlags::READ)?;
            read_only.write(b"x", 0).map(|_| done)
        }
        "zeroes" => Ok(zeroes(&file()?, number)),
        // Streams without a file, each with a buffer that nobody flushed.
        "streams" => {
            let file = file()?;
            for i in 0..number {
                match file.write_via_stream(i * 4096) {
                    Ok(stream) => {
                        stream.write(&[1; 4096]).unwrap();
                        STREAMS.with_borrow_mut(|streams| streams.push(stream));
                    }
                    Err(code) => return Ok(format!("{i} {}", code.name())),
                }
            }
            Ok("all".to_owned())
        }
        "nest" => nest(root, path, number),
        other => panic!("no command {other}"),
    }
}

fn zeroes(file: &Descriptor, most: u64) -> String {
    let stream = file.append_via_stream().unwrap();
    let mut written = 0;
    while written < most {
        match stream.blocking_write_zeroes_and_flush(4096) {
            Ok(()) => written += 4096,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::filesystem::types::filesystem_error_code(&error);
                return format!("{written} {}", code.map_or("nothing", |code| code.name()));
            }
            Err(StreamError::Closed) => return "closed".to_owned(),
        }
    }
    "all".to_owned()
}

/// Folders in folders, deeper than one path could name.
fn nest(root: Descriptor, name: &str, depth: u64) -> Result<String, ErrorCode> {
    let mut at = root;
    for _ in 0..depth {
        at.create_directory_at(name)?;
        at = at.open_at(PathFlags::empty(), name, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
    }
    Ok("done".to_owned())
}
