//! Page tables against a map of pages.
