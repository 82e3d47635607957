//! Tests of the arithmetic: no server, no clock.

mod simulation;
