"""Reads and writes chatmail.ini, as far as a playbook has to: names and values of its one section."""

import configparser


def chatmail_ini_read(text):
    """The settings of a chatmail.ini, as a dictionary of texts; values of several lines keep their lines."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.read_string(text)
    return dict(parser["params"]) if parser.has_section("params") else {}


def chatmail_ini_value(value):
    """A value as it stands behind `=`: booleans as the file has them, further lines indented."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        value = " ".join(str(item) for item in value)
    return "\n    ".join(line.strip() for line in str(value).splitlines())


class FilterModule:
    def filters(self):
        return {
            "chatmail_ini_read": chatmail_ini_read,
            "chatmail_ini_value": chatmail_ini_value,
        }
