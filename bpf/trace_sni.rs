//! The trace_sni gadget.
