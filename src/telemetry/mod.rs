//! What the gateway says of itself: logs, access lines, metrics. A leaf.
