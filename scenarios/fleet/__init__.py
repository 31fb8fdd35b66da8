"""Runtimes as processes on real servers, under load, while things are broken: what is posted, what ends, who held what."""

from forebay.scenarios.fleet.account import Account
from forebay.scenarios.fleet.fleet import Fleet, Services, Term
from forebay.scenarios.fleet.load import Load, Poison
from forebay.scenarios.fleet.log_reader import Happening, LogReader
from forebay.scenarios.fleet.member import Member, MemberFailed

__all__ = ["Account", "Fleet", "Happening", "Load", "LogReader", "Member", "MemberFailed", "Poison", "Services", "Term"]
