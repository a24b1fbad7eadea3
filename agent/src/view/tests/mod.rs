use super::*;

mod adding;
mod screens;
