//! Durable state behind one trait: embedded in memory or in SQLite.
