//! Child processes: start detached, watch, stop whole trees. The only file (with transport/) that spawns.
