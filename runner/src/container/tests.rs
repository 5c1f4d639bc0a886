//! The collection against a real docker.
