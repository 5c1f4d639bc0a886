//! Lists the headers that lie in the tree as text, so that the crate carries whatever is in `bpf/include` and
//! `headers/libc`.

use std::{env, fs, io, path::Path, path::PathBuf};

fn main() -> io::Result<()> {
    let var = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let mut list = "&[\n".to_owned();
    for folder in ["../bpf/include", "headers/libc"] {
        let include = var("CARGO_MANIFEST_DIR")?.join(folder).canonicalize()?;
        println!("cargo::rerun-if-changed={}", include.display());
        let mut files = Vec::new();
        walk(&include, &mut files)?;
        files.sort();
        for file in files {
            let name = file.strip_prefix(&include).map_err(io::Error::other)?;
            list += &format!("    ({name:?}, include_str!({file:?})),\n");
        }
    }
    fs::write(var("OUT_DIR")?.join("headers.rs"), list + "]\n")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
