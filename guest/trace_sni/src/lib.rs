//! The guest of trace_sni: reads the hellos that the eBPF program could only gather, and the datagrams of QUIC and DTLS;
//! and tells what is to be said of a name that is no plain one.
//!
//! Events that the program has finished come without bytes behind them, and pass. Those with bytes are filled in here.
//! Datagrams come on a data source of their own, which nobody shows: what is found in them becomes an event of `sni`
//! where the host lets a guest make such events, and otherwise one of `sni_quic`, which has fewer fields.

mod datagrams;
mod fields;
mod shown;

use std::{cell::RefCell, rc::Rc};

use gadget_guest::{DataSource, Event, Field, Guest, Result, debug, host_is_igx, warn};
use sni::{ServerName, record};

use crate::{datagrams::Datagrams, fields::Fields};

/// Bits of the field `options`: what the user asked for.
const ALL: u16 = 1;
const NO_SNI: u16 = 2;
const JA4: u16 = 4;

struct TraceSni {
    unread: Rc<RefCell<Unread>>,
}

/// Hellos that could not be read.
#[derive(Default)]
struct Unread {
    tcp: u64,
}

impl Guest for TraceSni {
    fn init() -> Result<Self> {
        let sni = DataSource::get("sni")?;
        let unread = Rc::default();
        gathered(&sni, Rc::clone(&unread))?;
        Datagrams::subscribe(&sni)?;
        Ok(Self { unread })
    }

    fn stop(&mut self) -> Result {
        let tcp = self.unread.borrow().tcp;
        if tcp > 0 {
            warn!("{tcp} hellos that were put together could not be read");
        }
        Ok(())
    }
}

gadget_guest::export!(TraceSni, without post_stop);

/// Fills events of hellos that were gathered, and of names that are no plain ones.
fn gathered(sni: &DataSource, unread: Rc<RefCell<Unread>>) -> Result {
    let bytes = sni.field::<Vec<u8>>("hello")?;
    let options = sni.field::<u16>("options")?;
    let fields = Fields::of(sni)?;
    let mut joined = Vec::new();
    sni.subscribe(0, move |event| {
        let bytes = bytes.get(event)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if fields.status.get(event)? == fields::UNCHECKED {
            return fields.fill_name(event, ServerName(&bytes));
        }
        let options = options.get(event)?;
        match record::parse(&bytes, &mut joined) {
            Ok(hello) if options & NO_SNI == 0 && hello.server_name().as_bytes().is_empty() => {
                nameless(event, &fields.status)
            }
            Ok(hello) => fields.fill(event, &hello, options & JA4 != 0),
            Err(error) => {
                debug!("{error}");
                unread.borrow_mut().tcp += 1;
                if host_is_igx() {
                    event.discard();
                }
                fields.status.set(event, fields::MALFORMED)
            }
        }
    })
}

/// What asks for no name is not shown, where that can be helped.
fn nameless(event: &Event, status: &Field<u8>) -> Result {
    if host_is_igx() {
        event.discard();
    }
    status.set(event, fields::NO_NAME)
}
