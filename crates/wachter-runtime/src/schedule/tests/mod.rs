//! The machines against naive models, and tables of what is promised.

mod admission;
mod timetable;
mod timetable_model;
