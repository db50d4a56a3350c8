//! Explanations of small objects, as tables.

use super::*;
