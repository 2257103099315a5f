// As in the toolkit, where this is all that the header has.
#pragma once
#include "crt/mma.h"
