//! The traps of docs/acumatica.md over real HTTP, one test each, named after them.

mod client;
mod control;
mod dump;
mod faults;
mod generated;
mod headers;
mod login_page;
mod names;
mod oauth;
mod odata;
mod openid;
mod rest;
mod sessions;
mod site;
mod stored;
