//! Completion in bash, whose words are parted at `=` and `:` as well: they are joined again before `igx` is asked, and
//! what it answers is cut to what bash replaces. Where there is no answer, bash offers files.

use std::{ffi::OsString, io, path::Path};

use clap_complete::env::{Bash as Words, EnvCompleter};

/// As clap's own but for the script.
pub(super) struct Bash;

const SCRIPT: &str = r#"_complete_NAME() {
    local IFS=$'\013' line=${COMP_LINE:0:COMP_POINT} words=() at=-1 i before word reply
    for ((i = 0; i <= COMP_CWORD; i++)); do
        before=${line%%[![:space:]]*}
        line=${line#"$before"}
        if [[ -n $before || i -eq 0 ]]; then words[++at]=; fi
        words[at]+=${COMP_WORDS[i]}
        line=${line#"${COMP_WORDS[i]}"}
    done
    word=${COMP_WORDS[COMP_CWORD]}
    if [[ $word == [=:]* ]]; then word=; fi
    before=${words[at]%"$word"}
    COMPREPLY=( $(VARIABLE=bash _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX="$at" NAME -- "${words[@]}" 2> /dev/null) )
    for i in "${!COMPREPLY[@]}"; do
        reply=${COMPREPLY[i]#"$before"}
        COMPREPLY[i]=$reply
        if [[ $reply == *[=/:,] ]]; then compopt -o nospace; fi
        if [[ -e $reply ]]; then compopt -o filenames; fi
    done
}
complete -o bashdefault -o default -o nosort -F _complete_NAME NAME
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        _bin: &str,
        _completer: &str,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        out.write_all(SCRIPT.replace("NAME", name).replace("VARIABLE", variable).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        here: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        Words.write_complete(command, words, here, out)
    }
}
