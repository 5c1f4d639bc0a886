//! Lists the headers that lie in the tree as text, so that the crate carries whatever is in `bpf/include` and
//! `headers/libc`, and the public keys that images are verified with when the user gives none.

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
    fs::write(var("OUT_DIR")?.join("headers.rs"), list + "]\n")?;
    fs::write(var("OUT_DIR")?.join("keys.rs"), keys()?)
}

/// Pairs of a prefix of image names and the PEM key that speaks for them: Inspektor Gadget's, and, if the environment
/// says so, that of whoever builds this: `IGX_PUBLIC_KEY_FILE` (a relative path is seen from the workspace) and
/// `IGX_PUBLIC_KEY_PREFIX`, such as `ghcr.io/me/`.
fn keys() -> io::Result<String> {
    let crate_folder = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    let upstream = crate_folder.join("keys/inspektor-gadget.pub");
    let mut keys = vec![("ghcr.io/inspektor-gadget/".to_owned(), upstream)];
    let setting = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var(name).ok().filter(|value| !value.is_empty())
    };
    match (setting("IGX_PUBLIC_KEY_FILE"), setting("IGX_PUBLIC_KEY_PREFIX")) {
        (Some(file), Some(prefix)) => keys.push((prefix, crate_folder.join("..").join(file))),
        (None, None) => {}
        _ => {
            return Err(io::Error::other(
                "set both IGX_PUBLIC_KEY_FILE and IGX_PUBLIC_KEY_PREFIX, or neither",
            ));
        }
    }
    let mut list = "&[\n".to_owned();
    for (prefix, file) in keys {
        println!("cargo::rerun-if-changed={}", file.display());
        let pem = fs::read_to_string(&file)
            .map_err(|error| io::Error::other(format!("public key {}: {error}", file.display())))?;
        list += &format!("    ({prefix:?}, {pem:?}),\n");
    }
    Ok(list + "]\n")
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
