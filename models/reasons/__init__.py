"""Why a score is what it is: contributions become sentences for an officer."""
