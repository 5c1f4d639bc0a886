//! Where compilers run: on this machine, or in a container of a builder image.

use super::Error;
use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// When a builder image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pull {
    /// Each time.
    #[default]
    Always,
    /// If the engine does not have it.
    Missing,
    /// Never: the engine must have it.
    Never,
}

/// A container engine and the image with the compilers.
#[derive(Debug, Clone)]
pub struct Container {
    /// The builder image, with clang, llvm-strip, go or cargo in it.
    pub image: String,
    /// When the image is fetched.
    pub pull: Pull,
    /// The engine's command. If absent, docker, or else podman, from `$PATH`.
    pub engine: Option<PathBuf>,
}

/// Three folders that a tool sees, and under which names.
pub(super) struct Folders<'a> {
    /// The sources.
    pub(super) work: &'a Path,
    /// Carried headers, if the tool needs them.
    pub(super) headers: Option<&'a Path>,
    /// Where results go.
    pub(super) out: &'a Path,
}

/// Where tools run.
pub(super) enum Place {
    Here,
    Container { engine: PathBuf, image: String, pull: Pull },
}

impl Place {
    pub(super) fn new(container: Option<&Container>) -> Result<Self, Error> {
        let Some(container) = container else { return Ok(Self::Here) };
        if container.image.starts_with('-') || container.image.is_empty() {
            return Err(Error::BuilderImage(container.image.clone()));
        }
        let engine = container.engine.clone();
        let engine = engine.or_else(|| which("docker")).or_else(|| which("podman")).ok_or(Error::NoEngine)?;
        Ok(Self::Container { engine, image: container.image.clone(), pull: container.pull })
    }

    /// The folders' names as tools see them: sources, headers, results.
    pub(super) fn seen(&self, folders: &Folders<'_>) -> [PathBuf; 3] {
        match self {
            Self::Here => {
                [folders.work, folders.headers.unwrap_or(folders.out), folders.out].map(Path::to_owned)
            }
            Self::Container { .. } => ["/work", "/headers", "/out"].map(PathBuf::from),
        }
    }

    /// A command that runs `program` in the folder of sources with these variables set besides this process's own.
    pub(super) fn command(
        &self,
        program: &Path,
        variables: &[(&str, String)],
        folders: &Folders<'_>,
    ) -> Result<Command, Error> {
        let mut command = match self {
            Self::Here => {
                let mut command = Command::new(program);
                command.current_dir(folders.work).envs(variables.iter().map(|(name, value)| (name, value)));
                // What would reach into the result without being in the sources.
                for name in ["CPATH", "C_INCLUDE_PATH", "CCC_OVERRIDE_OPTIONS", "GOFLAGS", "RUSTFLAGS"] {
                    command.env_remove(name);
                }
                command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("LC_ALL", "C");
                command
            }
            Self::Container { engine, image, .. } => {
                let mut command = Command::new(engine);
                command.args(["run", "--rm", "--pull=never", "--workdir=/work"]);
                let owner = fs::metadata(folders.out).map_err(|source| Error::Io {
                    what: format!("looking at {}", folders.out.display()),
                    source,
                })?;
                if engine.file_name().is_none_or(|name| name != "podman") {
                    // A rootless podman makes the caller root inside; with docker, files would be root's.
                    command.arg(format!("--user={}:{}", owner.uid(), owner.gid()));
                }
                for (name, value) in variables {
                    command.arg("--env").arg(format!("{name}={value}"));
                }
                let mut volume = |folder: &Path, at: &str, mode: &str| {
                    command.arg("--volume").arg(format!("{}:{at}{mode}", folder.display()));
                };
                volume(folders.work, "/work", ":ro");
                volume(folders.out, "/out", "");
                if let Some(headers) = folders.headers {
                    volume(headers, "/headers", ":ro");
                }
                command.arg("--entrypoint").arg(program).arg(image);
                command
            }
        };
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Fetches the builder image as far as it is wanted.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        let Self::Container { engine, image, pull } = self else { return Ok(()) };
        let has = || -> Result<bool, Error> {
            Ok(output(Command::new(engine).args(["image", "inspect", image]))?.status.success())
        };
        let fetch = match pull {
            Pull::Always => true,
            Pull::Missing => !has()?,
            Pull::Never if !has()? => return Err(Error::NoBuilderImage(image.clone())),
            Pull::Never => false,
        };
        if fetch {
            let done = output(Command::new(engine).args(["pull", "--quiet", image]))?;
            if !done.status.success() {
                let said = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
                return Err(Error::PullBuilder { image: image.clone(), said });
            }
        }
        Ok(())
    }
}

/// Runs a command to its end.
pub(super) fn output(command: &mut Command) -> Result<std::process::Output, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Io { what: format!("starting {tool}"), source })
}

/// Finds a program in `$PATH`.
pub(super) fn which(name: &str) -> Option<PathBuf> {
    let runnable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(runnable)
}
