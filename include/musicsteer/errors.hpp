#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// Base of everything the library throws. The message is one line that says where, what was expected, what
/// was found, and what to do.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The request is invalid (a bad option value, an unknown hook point). The program exits with 2.
class UsageError : public Error {
  public:
    using Error::Error;
};

/// An input file or text cannot be used: missing, corrupt, of another kind, not fitting the model.
class InputError : public Error {
  public:
    using Error::Error;
};

/// The model itself failed: a non-finite activation, a TorchScript error.
class ModelError : public Error {
  public:
    using Error::Error;
};

/// A result could not be written: already exists, not writable, disk full.
class OutputError : public Error {
  public:
    using Error::Error;
};

/// The work does not fit the machine (memory).
class ResourceError : public Error {
  public:
    using Error::Error;
};

/// The user interrupted the run (Ctrl-C). The program exits with 130.
class Interrupted : public Error {
  public:
    using Error::Error;
};

/// The candidate nearest to `name` (by edit distance with swaps, ignoring case), as
/// ", did you mean 'X'?", or "" if none is near: more than about a third of the letters would have to change.
/// The first of equally near candidates is taken.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

/// Text from outside, formatted for a message: in single quotes, control characters as \xNN, cut after 80
/// bytes with "...".
std::string in_quotes(std::string_view text);

}  // namespace musicsteer
