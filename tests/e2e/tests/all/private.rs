//! The data folder: nobody but its owner can read anything in it, whatever the umask.

use crate::shared::Guests;
use anyhow::Result;
use bulkhead_testbed::{Host, Serve};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn open_to_others(folder: &Path, found: &mut Vec<PathBuf>) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(entry.path());
        }
        count += 1;
        if metadata.is_dir() {
            count += open_to_others(&entry.path(), found)?;
        }
    }
    Ok(count)
}

#[test]
fn everything_in_the_data_folder_is_private() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    tenant.upload_guests()?;
    tenant.run_guest("p", "passthrough", "")?;
    tenant.put("p", &["private"])?;
    tenant.out("p", 1)?;
    let mut found = Vec::new();
    let looked_at = open_to_others(&host.data_dir(), &mut found)?;
    let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
    assert!(found.is_empty(), "others may read {names:#?}");
    assert!(looked_at > 10, "only {looked_at} files and folders were found");
    assert_eq!(std::fs::metadata(host.data_dir())?.permissions().mode() & 0o777, 0o700);
    Ok(())
}
